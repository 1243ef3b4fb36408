import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/** What the judges of a mutant say. */
export type Judgement =
  /** A test failed: they have noticed. */
  | { readonly kind: "caught"; readonly by: string; readonly message: string }
  /** All passed. */
  | { readonly kind: "survived" }
  /** No verdict: out of time, or the test process ended without one. `text` says how. */
  | { readonly kind: "undecided"; readonly text: string };

/** What of mocha's JSON report counts. */
interface Report {
  readonly stats: { readonly passes: number };
  readonly failures: readonly { readonly fullTitle: string; readonly err: { readonly message?: string } }[];
}

/**
 * Runs test files of a built tree, one behind the other, up to the first failure or `limitMs`. `seed` is that of all chance in them.
 */
export async function judge(
  root: string,
  testFiles: readonly string[],
  limitMs: number,
  seed: number,
): Promise<Judgement> {
  const reportPath = join(root, "judgement.json");
  rmSync(reportPath, { force: true });
  const compiled = testFiles.map((path) => join("dist", path.replace(/\.ts$/, ".js")));
  const missing = compiled.find((path) => !existsSync(join(root, path)));
  if (missing !== undefined) return { kind: "undecided", text: `there is no ${missing}` };
  const options = ["--no-config", "--bail", "--exit", "--timeout", "20000", "--forbid-only", "--forbid-pending"];
  const reporter = ["--reporter", "json", "--reporter-option", `output=${reportPath}`];
  const mocha = join(root, "node_modules/mocha/bin/_mocha");
  const child = spawn(
    process.execPath,
    ["--enable-source-maps", mocha, ...options, ...reporter, ...compiled],
    // A group of its own: what the tests have started ends with them.
    {
      cwd: root,
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, POPMESH_TEST_SEED: String(seed), POPMESH_TEST_SHRINK: "off" },
    },
  );
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-4_000);
  });
  let isOver = false;
  const limit = setTimeout(() => {
    isOver = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, limitMs);
  const exit = await new Promise<string>((resolve) =>
    child.once("close", (code, signal) => resolve(signal ?? `exit ${code}`)),
  );
  clearTimeout(limit);
  if (isOver) return { kind: "undecided", text: `no verdict within ${limitMs / 1000} s` };
  if (!existsSync(reportPath))
    return { kind: "undecided", text: `the tests ended (${exit}) without a report: ${stderr}` };
  const { stats, failures } = JSON.parse(readFileSync(reportPath, "utf8")) as Report;
  const [first] = failures;
  if (first !== undefined) return { kind: "caught", by: first.fullTitle, message: first.err.message ?? "" };
  if (stats.passes === 0) return { kind: "undecided", text: `no test ran (${exit}): ${stderr}` };
  return { kind: "survived" };
}
