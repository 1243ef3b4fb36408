import { processingBoundMs, processingBucketCount } from "../proto/lane/processing-bucket.ts";
import type { MetricRegistry } from "../proto/runtime/metric.ts";
import type { LaneOutcomeFigures } from "./broker-port.ts";

const prefix = "popmesh_broker_lane_";

const gauges: readonly (readonly [string, string, (lane: LaneOutcomeFigures) => number])[] = [
  ["in_flight_messages", "Messages of a lane that were handed out and not settled.", ({ inFlight }) => inFlight],
  [
    "spilled",
    "1: nobody consumes in the lane, and the base lane handles its messages.",
    ({ isSpilled }) => (isSpilled ? 1 : 0),
  ],
  [
    "oldest_message_seconds",
    "Age of the oldest message that a lane owns and is not done with.",
    ({ lagMs }) => lagMs / 1_000,
  ],
];
const counters: readonly (readonly [string, string, (lane: LaneOutcomeFigures) => number])[] = [
  ["deliveries_total", "Messages handed to the consumers of a lane, each redelivery anew.", (lane) => lane.deliveries],
  ["acks_total", "Messages that the consumers of a lane acknowledged.", (lane) => lane.acks],
  [
    "failures_total",
    "Hand-outs to the consumers of a lane that ended without an acknowledgement.",
    (lane) => lane.failures,
  ],
  ["dead_letters_total", "Messages that died in the hands of the consumers of a lane.", (lane) => lane.deadLetters],
];
const processingName = `${prefix}processing_seconds`;

/** Every fourth bucket: an octave each is enough for a graph. */
const told = 4;
const boundsSeconds = Array.from(
  { length: Math.floor((processingBucketCount - 2) / told) + 1 },
  (_, i) => processingBoundMs(i * told) / 1_000,
);

/** Figures per lane, where lane rules name some. Told when somebody asks; lanes that are gone go. */
export class LaneMetrics {
  #known = new Map<string, Record<string, string>>();

  refresh(metrics: MetricRegistry, lanes: readonly LaneOutcomeFigures[]): void {
    const before = this.#known;
    this.#known = new Map();
    for (const figures of lanes) {
      const { group, topic, lane } = figures;
      const labels = { group, topic, lane };
      const key = `${group}\n${topic}\n${lane}`;
      this.#known.set(key, labels);
      before.delete(key);
      for (const [name, help, read] of gauges) metrics.gauge(prefix + name, help, labels).set(read(figures));
      for (const [name, help, read] of counters) metrics.counter(prefix + name, help, labels).value = read(figures);
      tellProcessing(metrics, labels, figures);
    }
    for (const labels of before.values()) {
      for (const [name] of [...gauges, ...counters]) metrics.remove(prefix + name, labels);
      metrics.remove(processingName, labels);
    }
  }
}

function tellProcessing(metrics: MetricRegistry, labels: Record<string, string>, figures: LaneOutcomeFigures): void {
  const help = "From hand-out to acknowledgement, by lane of the consumer.";
  const histogram = metrics.histogram(processingName, help, labels, boundsSeconds);
  histogram.counts.fill(0);
  histogram.count = 0;
  for (const [bucket, count] of figures.buckets.entries()) {
    histogram.counts[Math.min(boundsSeconds.length, Math.ceil(bucket / told))]! += count;
    histogram.count += count;
  }
  histogram.sum = figures.processingMs / 1_000;
}
