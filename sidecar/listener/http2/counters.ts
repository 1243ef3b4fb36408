import { type Counter, MetricRegistry } from "../../../proto/runtime/metric.ts";

/** Why the engine refused or cut something: the label `limit` of `popmesh_http2_limit_total`. */
export const limitNames = [
  "connections",
  "connections-per-peer",
  "handshake-time",
  "header-block",
  "header-list",
  "streams",
  "request-rate",
  "rapid-reset",
  "ping",
  "settings",
  "empty-data",
  "priority",
  "window-update",
  "stream-errors",
  "message-size",
  "inflight-bytes",
  "slow-request",
  "silence",
  "write-stall",
] as const;
export type LimitName = (typeof limitNames)[number];

/** The counters of one server. */
export class Http2Counters {
  readonly connections: Counter;
  readonly calls: Counter;
  readonly protocolErrors: Counter;
  readonly deadlines: Counter;
  readonly #limits: Record<LimitName, Counter>;

  constructor(registry: MetricRegistry = new MetricRegistry()) {
    this.connections = registry.counter("popmesh_http2_connections_total", "Connections accepted by the data port.");
    this.calls = registry.counter("popmesh_http2_calls_total", "Calls opened on the data port.");
    this.protocolErrors = registry.counter(
      "popmesh_http2_protocol_errors_total",
      "Connections ended because the client broke HTTP/2.",
    );
    this.deadlines = registry.counter("popmesh_http2_deadlines_total", "Calls whose grpc-timeout passed unanswered.");
    this.#limits = Object.fromEntries(
      limitNames.map((limit) => [
        limit,
        registry.counter("popmesh_http2_limit_total", "Connections or calls refused or cut by a limit.", { limit }),
      ]),
    ) as Record<LimitName, Counter>;
  }

  /** Counts one refusal by `limit`. */
  cut(limit: LimitName): void {
    this.#limits[limit].value++;
  }

  /** How often `limit` refused something. */
  cuts(limit: LimitName): number {
    return this.#limits[limit].value;
  }
}
