import assert from "node:assert/strict";
import type { LaneRuleStanding } from "../../../../control-plane/operation/lane-publisher.ts";
import { publicationStep } from "../../../../control-plane/operation/publication-step.ts";
import type { LanePublication } from "../../../../control-plane/resource/lane-publication.ts";

const publication = (more: Partial<LanePublication> = {}): LanePublication => ({
  ...{ generation: 4, base: 3, stage: "first", first: ["a"], isRollback: false },
  ...more,
});
const at = (broker: string, state: LaneRuleStanding["state"], reason?: string): LaneRuleStanding => ({
  ...{ broker, state, generation: 3 },
  ...(reason === undefined ? {} : { reason }),
});
const step = (of: LanePublication, standings: readonly LaneRuleStanding[], dead: readonly string[] = []) =>
  publicationStep(of, standings, (broker) => !dead.includes(broker));

describe("what is next for a version on its way", () => {
  it("all brokers, when the first have it; the end, when all have", () => {
    const waiting = [at("a", "pending"), at("b", "pending")];
    assert.deepEqual(step(publication(), waiting), { step: "wait" });
    assert.deepEqual(step(publication(), [at("a", "in force"), at("b", "pending")]), { step: "all" });
    const all = publication({ stage: "all" });
    assert.deepEqual(step(all, [at("a", "in force"), at("b", "unanswered")]), { step: "wait" });
    assert.deepEqual(step(all, [at("a", "in force"), at("b", "ahead")]), { step: "end" });
  });

  it("back, when any broker refuses it, with its words; but what takes back is not taken back", () => {
    const refused = [at("a", "in force"), at("b", "refused", "no room")];
    const reason = 'broker "b" refused version 4: no room';
    assert.deepEqual(step(publication({ stage: "all" }), refused), { step: "roll back", reason });
    assert.deepEqual(step(publication({ stage: "all", isRollback: true }), refused), { step: "wait" });
  });

  it("other brokers, when those that should have it first are away", () => {
    const standings = [at("a", "unanswered"), at("b", "pending"), at("c", "pending")];
    assert.deepEqual(step(publication(), standings, ["a"]), { step: "first", brokers: ["b"] });
    assert.deepEqual(step(publication(), standings, ["a", "b", "c"]), { step: "wait" });
    const two = publication({ first: ["a", "b"] });
    assert.deepEqual(step(two, [at("a", "unanswered"), at("b", "in force"), at("c", "pending")], ["a"]), {
      step: "all",
    });
    assert.deepEqual(step(publication(), []), { step: "end" }, "nobody holds the topic any more");
  });
});
