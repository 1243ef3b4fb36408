import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The seed of this run's chance, a 32-bit unsigned integer, and where it comes from: `POPMESH_TEST_SEED`, a new one where that is
 * "random" (`npm run test:nightly`), else drawn from what is tested: the hash of HEAD's tree. Tests name it when they fail.
 *
 * Options (2026-11-25):
 * - A new seed for each run: two runs of one commit test different histories. A change is blamed for a rare old bug, and the next run
 *   of the same commit is green.
 * - A constant: the same histories for ever; what they do not hold is never tested.
 * - The tree's hash (chosen): one commit, one run, whoever runs it, and every change explores new histories. The tree's and not the
 *   commit's, so that a rebase or another message changes nothing. Nights explore as many more as they can.
 *
 * Changes that are not committed do not change the seed: what failed is run again while it is being mended.
 */
const drawn = drawSeed();
export const testSeed: number = drawn.seed;
export const testSeedOrigin: string = drawn.origin;

// Processes that tests start have the seed of the run, also where it was drawn by chance.
process.env["POPMESH_TEST_SEED"] = String(testSeed);

/** Runs `action`; what it throws says how to run it again with the same chance. */
export function withSeed(action: (seed: number) => void, seed = testSeed): void {
  try {
    action(seed);
  } catch (error) {
    if (error instanceof Error) error.message += againWithSeed(seed);
    throw error;
  }
}

/** What the message of a failed test ends with. */
export function againWithSeed(seed = testSeed): string {
  return `\n(again with POPMESH_TEST_SEED=${seed})`;
}

function drawSeed(): { seed: number; origin: string } {
  const text = process.env["POPMESH_TEST_SEED"] ?? "";
  if (text === "random") return { seed: Math.floor(Math.random() * 0x1_0000_0000), origin: "drawn by chance" };
  if (text !== "") {
    const seed = Number(text);
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
      throw new Error(`POPMESH_TEST_SEED is "${text}"; give a whole number of 0 to 4294967295, or "random"`);
    }
    return { seed, origin: "given" };
  }
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const tree = treeOf(root);
  if (tree !== undefined) return { seed: Number.parseInt(tree.slice(0, 8), 16), origin: `tree ${tree.slice(0, 12)}` };
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  // FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
  let seed = 0x811c_9dc5;
  for (const byte of Buffer.from(version)) seed = Math.imul(seed ^ byte, 0x0100_0193) >>> 0;
  return { seed, origin: `version ${version}, no git repository` };
}

/** The hash of HEAD's tree; undefined without git, in an unpacked archive, and in a folder of somebody else's repository. */
function treeOf(root: string): string | undefined {
  // A checkout that belongs to another user, as in containers of CI, is read all the same.
  const options = ["-c", "safe.directory=*", "rev-parse", "--show-toplevel", "HEAD^{tree}"];
  try {
    const answer = execFileSync("git", options, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const [top = "", tree = ""] = answer.split("\n");
    return realpathSync(top) === realpathSync(root) && /^[0-9a-f]{40,}$/.test(tree) ? tree : undefined;
  } catch {
    return undefined;
  }
}
