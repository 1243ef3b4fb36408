import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compiledRoot } from "../../support/running-process.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("The seed of a test run", () => {
  let root: string;
  const identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"];
  const git = (...words: string[]): string =>
    execFileSync("git", [...identity, ...words], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

  /** The seed that a fresh process draws in the checkout, and what one that it starts is given. */
  function draw(given?: string, where = root): { seed: number; origin: string; child: string } {
    const { POPMESH_TEST_SEED: _ours, ...env } = process.env;
    const script = `const { testSeed, testSeedOrigin } = await import(process.argv[1]);
      const { execFileSync } = await import("node:child_process");
      const child = execFileSync(process.execPath, ["-p", "process.env.POPMESH_TEST_SEED"], { encoding: "utf8" }).trim();
      console.log(JSON.stringify({ seed: testSeed, origin: testSeedOrigin, child }));`;
    const options = ["--input-type=module", "-e", script, join(where, "dist/test/support/test-seed.js")];
    const answer = execFileSync(process.execPath, options, {
      cwd: tmpdir(),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...env, ...(given === undefined ? {} : { POPMESH_TEST_SEED: given }) },
    });
    return JSON.parse(answer) as { seed: number; origin: string; child: string };
  }

  function checkout(where: string, version: string): void {
    mkdirSync(join(where, "dist/test/support"), { recursive: true });
    copyFileSync(join(compiledRoot, "test/support/test-seed.js"), join(where, "dist/test/support/test-seed.js"));
    writeFileSync(join(where, "package.json"), JSON.stringify({ type: "module", version }));
  }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "popmesh-seed-"));
    checkout(root, "1.2.3");
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("comes from the tree of HEAD: a commit with another message has the same, one with another file has not", () => {
    git("init", "-q");
    git("add", "package.json");
    git("commit", "-qm", "one");
    const first = draw();
    assert.equal(first.seed, Number.parseInt(git("rev-parse", "HEAD^{tree}").slice(0, 8), 16));
    git("commit", "-q", "--amend", "-m", "two");
    assert.deepEqual(draw(), first);
    writeFileSync(join(root, "new.txt"), "new");
    assert.deepEqual(draw(), first, "what is not committed changes nothing");
    git("add", "new.txt");
    git("commit", "-qm", "three");
    assert.notEqual(draw().seed, first.seed);
  });

  it("comes from the version where there is no repository, also inside somebody else's", () => {
    const bare = draw();
    assert.match(bare.origin, /version 1\.2\.3/);
    git("init", "-q");
    git("commit", "-q", "--allow-empty", "-m", "not ours");
    const inner = join(root, "inner");
    checkout(inner, "1.2.3");
    assert.deepEqual(draw(undefined, inner), bare);
    checkout(inner, "1.2.4");
    assert.notEqual(draw(undefined, inner).seed, bare.seed);
  });

  it("is what the environment gives, or new each time, and processes that a test starts have it too", () => {
    assert.deepEqual(draw("7"), { seed: 7, origin: "given", child: "7" });
    const [one, two] = [draw("random"), draw("random")];
    assert.notEqual(one.seed, two.seed);
    for (const { seed, child } of [one, two, draw()]) assert.equal(child, String(seed));
    assert.equal(process.env["POPMESH_TEST_SEED"], String(testSeed));
  });

  it("is refused where it is no seed", () => {
    for (const text of ["x", "-1", "1.5", "4294967296"])
      assert.throws(() => draw(text), /give a whole number of 0 to 4294967295/);
  });
});
