import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mutantCount, readMutant, readMutants } from "../../mutants/mutant.ts";
import { applyPatch, parsePatch } from "../../mutants/patch.ts";
import { repositoryRoot } from "../../support/running-process.ts";

function read(path: string): string | undefined {
  const whole = join(repositoryRoot, path);
  return existsSync(whole) ? readFileSync(whole, "utf8") : undefined;
}

describe("the planted bugs of T08", () => {
  const mutants = readMutants();

  it(`are all there, from 1 to ${mutantCount}`, () => {
    assert.deepEqual(
      mutants.map(({ number }) => number),
      Array.from({ length: mutantCount }, (_, i) => i + 1),
    );
  });

  for (const { fileName, patch, judges } of mutants) {
    it(`fit the source: ${fileName} (else write the same bug into what the code is now; test/mutants/README.md says how)`, () => {
      const changed = applyPatch(patch, read);
      assert.ok(changed.size > 0);
      for (const path of changed.keys()) assert.match(path, /^(broker-core|sidecar|control-plane|proto)\/.*\.ts$/);
    });

    it(`have judges that there are: ${fileName}`, () => {
      assert.deepEqual(
        judges.filter((path) => !existsSync(join(repositoryRoot, path))),
        [],
      );
    });
  }
});

describe("a patch", () => {
  const patch = parsePatch("--- a/x.ts\n+++ b/x.ts\n@@ -7,2 +7,3 @@\n one\n-two\n+2\n+3\n");
  const apply = (text: string | undefined) => applyPatch(patch, () => text).get("x.ts");

  it("is applied where its lines stand, whatever their number", () => {
    assert.equal(apply("zero\none\ntwo\n"), "zero\none\n2\n3\n");
    assert.equal(apply("one\ntwo\nfour\n"), "one\n2\n3\nfour\n");
  });

  it("is refused, with its hunk and file, where its lines do not stand, stand twice, or the file is gone", () => {
    assert.throws(() => apply("zero\none\n2\n"), /hunk 1: what it expects in x\.ts does not stand there:\none\ntwo\n/);
    assert.throws(() => apply("zone\ntwo\n"), /does not stand there/);
    assert.throws(() => apply("one\ntwo\none\ntwo\n"), /stands there 2 times/);
    assert.throws(() => apply(undefined), /there is no x\.ts any more/);
  });

  it("is refused when it is cut short, has no context, or changes nothing", () => {
    const parse = (diff: string) => parsePatch(`--- a/x.ts\n+++ b/x.ts\n${diff}`);
    assert.throws(() => parse("@@ -7,2 +7,3 @@\n one\n-two\n+2\n"), /ends before the lines that its head counts/);
    assert.throws(() => parse("@@ -7,0 +7,1 @@\n+2\n"), /has no context/);
    assert.throws(() => parse("@@ -7 +7 @@\n one\n"), /changes nothing/);
    assert.throws(() => parse(""), /there is no hunk/);
    assert.throws(() => parse("@@ -7 +7,2 @@\n one\n+2\nthree\n"), /"three" is no line of a diff/);
  });

  it("says what its bug is, what it breaks, and who judges it", () => {
    const diff = "--- a/x.ts\n+++ b/x.ts\n@@ -1 +1 @@\n-one\n+two\n";
    const { number, bug, breaks, judges } = readMutant(
      "07-a.patch",
      `Bug: b\nBreaks: B1\nJudges: t/a.test.ts, t/b.test.ts\n\n${diff}`,
    );
    assert.deepEqual(
      { number, bug, breaks, judges },
      { number: 7, bug: "b", breaks: "B1", judges: ["t/a.test.ts", "t/b.test.ts"] },
    );
    assert.throws(
      () => readMutant("07-a.patch", `Bug: b\nBreaks: B1\n\n${diff}`),
      /07-a\.patch: there is no line "Judges: "/,
    );
    assert.throws(() => readMutant("7.patch", diff), /the name of a patch is NN-what-is-wrong\.patch/);
  });
});
