import assert from "node:assert/strict";
import { fuzzCodecs } from "../support/codec-fuzz.ts";
import { withSeed } from "../support/test-seed.ts";

/** As many as fit into a few seconds; test/extended/in-one-process/codec-fuzz.test.ts runs millions. */
const inputs = Number(process.env["POPMESH_FUZZ_INPUTS"] ?? 200_000);

describe("every decoder", () => {
  it(`takes or refuses ${inputs} damaged messages, quickly and without a crash`, function () {
    this.timeout(0);
    withSeed((seed) => {
      const report = fuzzCodecs(seed, inputs);
      assert.ok(report.accepted > inputs / 20 && report.refused > inputs / 20, JSON.stringify(report));
    });
  });
});
