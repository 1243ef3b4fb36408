import type { Counter, Gauge, Histogram, MetricRegistry } from "../../proto/runtime/metric.ts";

/** What the frame server counts. */
export class ServiceMetrics {
  readonly connections: Gauge;
  readonly sends: Counter;
  readonly messagesStored: Counter;
  readonly receives: Counter;
  readonly messagesHandedOut: Counter;
  readonly messagesHandedBack: Counter;
  readonly acks: Counter;
  readonly changes: Counter;
  readonly transactionEnds: Counter;
  readonly recalls: Counter;
  readonly refusals: Counter;
  readonly brokenConnections: Counter;
  /** From the request to the moment its batch is on disk, of one send in 16. */
  readonly sendSeconds: Histogram;

  constructor(registry: MetricRegistry) {
    const total = (name: string, help: string) => registry.counter(`popmesh_broker_${name}_total`, help);
    this.connections = registry.gauge("popmesh_broker_connections", "Sidecars connected.");
    this.sends = total("sends", "Send requests.");
    this.messagesStored = total("messages_stored", "Messages appended to the log.");
    this.receives = total("receives", "Receive requests.");
    this.messagesHandedOut = total("messages_handed_out", "Messages handed out, redeliveries included.");
    this.messagesHandedBack = total(
      "messages_handed_back",
      "Messages handed back because their connection broke first.",
    );
    this.acks = total("acks", "Receipts acknowledged or refused.");
    this.changes = total("changes", "Receipts whose invisible time was changed, extended or handed back.");
    this.transactionEnds = total("transaction_ends", "Requests to commit or roll back a transaction.");
    this.recalls = total("recalls", "Requests to take a timed message back.");
    this.refusals = total("refusals", "Requests answered with a failure.");
    this.brokenConnections = total("broken_connections", "Connections that ended without a drain.");
    this.sendSeconds = registry.histogram(
      "popmesh_broker_send_durable_seconds",
      "From the request to its fsync, sampled.",
    );
  }
}
