import assert from "node:assert/strict";
import type { LaneOutcomeFigures } from "../../../broker-core/broker-port.ts";
import { LaneMetrics } from "../../../broker-core/lane-metrics.ts";
import { processingBucket } from "../../../proto/lane/processing-bucket.ts";
import { MetricRegistry } from "../../../proto/runtime/metric.ts";

const base: LaneOutcomeFigures = {
  group: "ns/g",
  topic: "ns/t",
  lane: "base",
  isSpilled: false,
  inFlight: 3,
  lagMs: 0,
  deliveries: 9,
  acks: 5,
  failures: 1,
  deadLetters: 0,
  processingMs: 50,
  buckets: [5],
};

describe("The figures of lanes", () => {
  it("are there for each lane, and go with it", () => {
    const metrics = new MetricRegistry();
    const lanes = new LaneMetrics();
    const buckets = new Array<number>(processingBucket(100) + 1).fill(0);
    buckets[processingBucket(100)] = 2;
    const canary = { ...base, lane: "canary", inFlight: 2, isSpilled: true, lagMs: 1_500, failures: 4, buckets };
    lanes.refresh(metrics, [base, canary]);
    const text = metrics.prometheusText();
    assert.match(text, /popmesh_broker_lane_in_flight_messages\{[^}]*lane="canary"[^}]*\} 2/);
    assert.match(text, /popmesh_broker_lane_spilled\{[^}]*lane="canary"[^}]*\} 1/);
    assert.match(text, /popmesh_broker_lane_oldest_message_seconds\{[^}]*lane="canary"[^}]*\} 1.5/);
    assert.match(text, /# TYPE popmesh_broker_lane_failures_total counter/);
    assert.match(text, /popmesh_broker_lane_failures_total\{[^}]*lane="canary"[^}]*\} 4/);
    // 100 ms lie between 64 and 128.
    assert.match(text, /popmesh_broker_lane_processing_seconds_bucket\{[^}]*lane="canary"[^}]*le="0.064"\} 0/);
    assert.match(text, /popmesh_broker_lane_processing_seconds_bucket\{[^}]*lane="canary"[^}]*le="0.128"\} 2/);
    lanes.refresh(metrics, [base]);
    assert.doesNotMatch(metrics.prometheusText(), /lane="canary"/);
  });
});
