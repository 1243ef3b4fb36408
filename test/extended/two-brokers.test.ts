import assert from "node:assert/strict";
import { swallowAnswersOfOneOfTwo } from "../support/two-broker-run.ts";

describe("Two brokers, one of which is not heard any more under sends", () => {
  it("[S2] store nothing twice and lose nothing that was acknowledged", async () => {
    const { answeredOk, failed, lost, doubled } = await swallowAnswersOfOneOfTwo();
    assert.deepEqual(doubled, []);
    assert.deepEqual(lost, []);
    assert.ok(answeredOk >= 400 && failed >= 1, `${answeredOk} sends went well, ${failed} did not`);
  }).timeout(60_000);
});
