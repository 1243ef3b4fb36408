import assert from "node:assert/strict";
import type { BrokerAnswer } from "../../../../control-plane/operation/broker-operator.ts";
import {
  type DescribedGroup,
  groupStatus,
  type LaneProgress,
  type TopicProgress,
} from "../../../../control-plane/operation/group-status.ts";
import { Code } from "../../../../proto/code.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";

const progress = (topic: string, figures: Partial<TopicProgress>): TopicProgress => ({
  ...{ topic, ready: 0, blocked: 0, inFlight: 0, inFlightMax: 20_000, deadLetters: 0, delayed: 0, waitingReceives: 0 },
  ...{ filter: null, oldestStoreMs: null, lagMs: 0 },
  ...figures,
});
const said = (broker: string, ...topics: TopicProgress[]): BrokerAnswer<DescribedGroup> => ({
  ...{ broker, ok: true },
  result: { group: "default/billing", isKnown: true, topics },
});

describe("The status of a group over all brokers", () => {
  it("adds up what each broker counts, and takes the oldest message of all for the lag in time", () => {
    const { topics, unanswered } = groupStatus("default/billing", [
      said(
        "a",
        progress("default/orders", {
          ready: 3,
          blocked: 5,
          inFlight: 2,
          deadLetters: 1,
          delayed: 7,
          filter: "TAG a",
          waitingReceives: 4,
          lagMs: 1_500,
        }),
      ),
      said(
        "b",
        progress("default/orders", { ready: 10, delayed: 1, filter: "TAG b", lagMs: 9_000 }),
        progress("default/bills", { inFlight: 1 }),
      ),
    ]);
    assert.deepEqual(
      topics.map(({ brokers, ...rest }) => ({ ...rest, brokers: brokers.map(({ broker }) => broker) })),
      [
        {
          ...{
            topic: "default/bills",
            instance: null,
            ready: 0,
            blocked: 0,
            inFlight: 1,
            deadLetters: 0,
            delayed: 0,
            waitingReceives: 0,
          },
          ...{ lagMessages: 1, lagSeconds: 0, filters: [], lanes: [], brokers: ["b"] },
        },
        {
          ...{
            topic: "default/orders",
            instance: null,
            ready: 13,
            blocked: 5,
            inFlight: 2,
            deadLetters: 1,
            delayed: 8,
            waitingReceives: 4,
          },
          ...{ lagMessages: 20, lagSeconds: 9, filters: ["TAG a", "TAG b"], lanes: [], brokers: ["a", "b"] },
        },
      ],
    );
    assert.deepEqual(unanswered, []);
  });

  it("adds up the lanes of all brokers, base first, spilled or closing where any is", () => {
    const lane = (name: string, figures: Partial<LaneProgress>): LaneProgress => ({
      ...{ lane: name, ready: 0, inFlight: 0, isSpilled: false, isClosing: false, waitingReceives: 0, holders: [] },
      ...figures,
    });
    const { topics } = groupStatus("default/billing", [
      said(
        "a",
        progress("default/orders", {
          lanes: [lane("base", { ready: 2, holders: ["c1"] }), lane("canary", { inFlight: 1, holders: ["c2"] })],
        }),
      ),
      said(
        "b",
        progress("default/orders", {
          lanes: [
            lane("base", { ready: 3, waitingReceives: 1, holders: ["c1", "c0"] }),
            lane("canary", { inFlight: 4, isSpilled: true }),
            lane("old", { isSpilled: true, isClosing: true }),
          ],
        }),
      ),
      // Of before there were lanes.
      said("c", progress("default/orders", { ready: 1 })),
    ]);
    assert.deepEqual(topics[0]?.lanes, [
      { lane: "base", ready: 5, inFlight: 0, state: "live", waitingReceives: 1, holders: ["c0", "c1"] },
      { lane: "canary", ready: 0, inFlight: 5, state: "spilled", waitingReceives: 0, holders: ["c2"] },
      { lane: "old", ready: 0, inFlight: 0, state: "closing", waitingReceives: 0, holders: [] },
    ]);
  });

  it("names the brokers whose figures are missing", () => {
    const error = new MeshError(Code.ProxyTimeout, 'broker "b" cannot be asked: connect ECONNREFUSED');
    const status = groupStatus("default/billing", [
      said("a", progress("default/orders", { ready: 1 })),
      { broker: "b", ok: false, error },
    ]);
    assert.deepEqual(status.topics[0]?.ready, 1);
    assert.deepEqual(status.unanswered, [{ broker: "b", error: error.message }]);
  });
});
