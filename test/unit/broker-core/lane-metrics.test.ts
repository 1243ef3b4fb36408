import assert from "node:assert/strict";
import { LaneMetrics } from "../../../broker-core/lane-metrics.ts";
import { MetricRegistry } from "../../../proto/runtime/metric.ts";

describe("The figures of lanes", () => {
  it("are there for each lane, and go with it", () => {
    const metrics = new MetricRegistry();
    const lanes = new LaneMetrics();
    const figures = {
      group: "ns/g",
      topic: "ns/t",
      ready: 0,
      blocked: 0,
      inFlight: 3,
      inFlightMax: 9,
      deadLetters: 0,
      waiting: 0,
    };
    lanes.refresh(metrics, [
      figures,
      { ...figures, topic: "ns/u", lanes: [{ lane: "canary", inFlight: 2, isSpilled: true, isClosing: false }] },
    ]);
    const text = metrics.prometheusText();
    assert.match(text, /popmesh_broker_lane_in_flight_messages\{[^}]*lane="canary"[^}]*\} 2/);
    assert.match(text, /popmesh_broker_lane_spilled\{[^}]*topic="ns\/u"[^}]*\} 1/);
    lanes.refresh(metrics, [figures]);
    assert.doesNotMatch(metrics.prometheusText(), /lane="canary"/);
  });
});
