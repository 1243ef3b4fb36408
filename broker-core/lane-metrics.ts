import type { MetricRegistry } from "../proto/runtime/metric.ts";
import type { SubscriptionFigures } from "./broker-port.ts";

const names = ["popmesh_broker_lane_in_flight_messages", "popmesh_broker_lane_spilled"];

/** Figures per lane, where lane rules name some. Told when somebody asks; lanes that are gone go. */
export class LaneMetrics {
  #known = new Map<string, Record<string, string>>();

  refresh(metrics: MetricRegistry, subscriptions: readonly SubscriptionFigures[]): void {
    const before = this.#known;
    this.#known = new Map();
    for (const { group, topic, lanes = [] } of subscriptions) {
      for (const { lane, inFlight, isSpilled } of lanes) {
        const labels = { group, topic, lane };
        const key = `${group}\n${topic}\n${lane}`;
        this.#known.set(key, labels);
        before.delete(key);
        const [inFlightName, spilledName] = names as [string, string];
        metrics.gauge(inFlightName, "Messages of a lane that were handed out and not settled.", labels).set(inFlight);
        metrics
          .gauge(spilledName, "1: nobody consumes in the lane, and the base lane handles its messages.", labels)
          .set(isSpilled ? 1 : 0);
      }
    }
    for (const labels of before.values()) for (const name of names) metrics.remove(name, labels);
  }
}
