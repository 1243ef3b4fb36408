import assert from "node:assert/strict";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { checkHistory } from "../../support/history-checker.ts";
import { generatedSubscriptions, generateValidHistory } from "../../support/history-generator.ts";
import { amount } from "../../support/test-factor.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("T24: the history checker, at length", () => {
  const histories = amount(5_000, 100_000);
  it(`raises no false alarm in ${histories} random valid histories (seed ${testSeed})`, () => {
    let deliveries = 0;
    for (let i = 0; i < histories; i++) {
      const events = generateValidHistory(new SeededRandomness((testSeed + i) >>> 0), 60);
      const { violations, counts } = checkHistory(events, { subscriptions: generatedSubscriptions });
      assert.deepEqual(violations, [], `seed ${testSeed + i}`);
      deliveries += counts.deliveries;
    }
    assert.ok(deliveries >= 25 * histories, `only ${deliveries} hand-outs`);
  });
});
