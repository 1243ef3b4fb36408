import assert from "node:assert/strict";
import { fuzzCodecs, fuzzTable } from "../../support/codec-fuzz.ts";
import { withSeed } from "../../support/test-seed.ts";

/** Test plan T10, the share of the codecs. */
const inputs = Number(process.env["POPMESH_FUZZ_INPUTS"] ?? 2_000_000);
const grownBytesMax = 64 * 1024 * 1024;

describe("every decoder, at length", () => {
  it(`takes or refuses ${inputs} damaged messages, quickly, without a crash and without growing`, function () {
    this.timeout(0);
    withSeed((seed) => {
      const startedMs = performance.now();
      const report = fuzzCodecs(seed, inputs);
      process.stdout.write(`      ${fuzzTable(report, performance.now() - startedMs)}\n`);
      assert.ok(report.accepted > inputs / 20 && report.refused > inputs / 20);
      assert.ok(report.grownBytes < grownBytesMax, `memory grew by ${report.grownBytes} bytes`);
    });
  });
});
