import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { release } from "../../../../proto/runtime/release.ts";
import { compiledRoot } from "../../../support/running-process.ts";

describe("the number of the release", () => {
  it("is that of the package", () => {
    const { version } = JSON.parse(readFileSync(join(compiledRoot, "../package.json"), "utf8")) as { version: string };
    assert.equal(release, version);
  });
});
