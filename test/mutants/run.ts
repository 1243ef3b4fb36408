import { testSeed } from "../support/test-seed.ts";
import { judge } from "./judgement.ts";
import { type Mutant, mutantCount, readMutants } from "./mutant.ts";
import { PatchError } from "./patch.ts";
import { SourceCopy } from "./source-copy.ts";

/**
 * The mutation gate (T08): `npm run test:mutants`, or `node dist/test/mutants/run.js 3 17` for some of them. Each planted bug is put
 * into a copy of the source, built, and must make one of its judges fail within a minute; without a bug all judges must pass. Ends
 * with 1 unless every one was caught.
 */
const caughtMsMax = 60_000;
const baselineMsMax = 15 * 60_000;

interface Verdict {
  readonly mutant: Mutant;
  readonly isCaught: boolean;
  /** The test that failed, or why the mutant counts as not caught. */
  readonly by: string;
  readonly message: string;
  readonly seconds: number;
}

const wanted = process.argv.slice(2).map(Number);
const all = readMutants();
const mutants = wanted.length === 0 ? all : all.filter(({ number }) => wanted.includes(number));
const copy = new SourceCopy();
process.once("exit", () => copy.remove());
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

console.log(`${mutants.length} planted bugs, POPMESH_TEST_SEED=${testSeed}`);
await assertSound();
const verdicts: Verdict[] = [];
for (const mutant of mutants) {
  const verdict = await verdictOn(mutant);
  verdicts.push(verdict);
  console.log(
    `${verdict.isCaught ? "caught" : "NOT CAUGHT"} ${mutant.fileName} in ${verdict.seconds.toFixed(1)} s by ${verdict.by}` +
      (verdict.message === "" ? "" : `\n    ${verdict.message.split("\n")[0]}`),
  );
}
printTable(verdicts);
const expected = wanted.length === 0 ? mutantCount : wanted.length;
const caught = verdicts.filter(({ isCaught }) => isCaught).length;
console.log(`${caught}/${expected}`);
process.exit(caught === expected ? 0 : 1);

/** Without a bug every judge passes: else it proves nothing that one fails with it. */
async function assertSound(): Promise<void> {
  const complaint = copy.build();
  if (complaint !== undefined) end(`the copy of the source does not compile:\n${complaint}`);
  const judges = [...new Set(mutants.flatMap((mutant) => mutant.judges))].sort();
  const startMs = Date.now();
  const judgement = await judge(copy.root, judges, baselineMsMax, testSeed);
  if (judgement.kind === "caught") end(`without any bug "${judgement.by}" fails:\n${judgement.message}`);
  if (judgement.kind === "undecided") end(`without any bug: ${judgement.text}`);
  console.log(`without a bug ${judges.length} test files pass in ${((Date.now() - startMs) / 1000).toFixed(1)} s`);
}

async function verdictOn(mutant: Mutant): Promise<Verdict> {
  const lost = (by: string, message: string, seconds = 0): Verdict => ({
    mutant,
    isCaught: false,
    by,
    message,
    seconds,
  });
  try {
    copy.apply(mutant.patch);
    const complaint = copy.build();
    if (complaint !== undefined) return lost("the compiler: a bug is worth something only if it builds", complaint);
    const startMs = Date.now();
    const judgement = await judge(copy.root, mutant.judges, caughtMsMax, testSeed);
    const seconds = (Date.now() - startMs) / 1000;
    if (judgement.kind === "survived") return lost(`nobody: ${mutant.judges.join(", ")} pass`, "", seconds);
    if (judgement.kind === "undecided") return lost("nobody", judgement.text, seconds);
    return { mutant, isCaught: true, by: judgement.by, message: judgement.message, seconds };
  } catch (error) {
    if (error instanceof PatchError) return lost("nobody: it does not apply any more", error.message);
    throw error;
  } finally {
    copy.revert();
  }
}

function printTable(table: readonly Verdict[]): void {
  const cell = (text: string): string => text.replaceAll("|", "\\|").replace(/ \(seed \d+\)/, "");
  console.log("\n| no. | bug | breaks | caught by | seconds |\n|---|---|---|---|---|");
  for (const { mutant, isCaught, by, seconds } of table) {
    const name = isCaught ? cell(by) : `**not caught**: ${cell(by)}`;
    console.log(`| ${mutant.number} | ${cell(mutant.bug)} | ${mutant.breaks} | ${name} | ${seconds.toFixed(1)} |`);
  }
}

function end(text: string): never {
  console.log(text);
  process.exit(1);
}
