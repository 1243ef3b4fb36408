import { type AdminServer, jsonAnswer, textAnswer } from "../proto/runtime/admin-server.ts";
import type { Gauge, MetricRegistry } from "../proto/runtime/metric.ts";
import type { BrokerPort, LaneOutcomeFigures, Operated } from "./broker-port.ts";
import type { BrokerConfig } from "./config.ts";
import { LaneMetrics } from "./lane-metrics.ts";

/** What the admin port tells of. */
export interface AdminSubject {
  readonly config: BrokerConfig;
  readonly metrics: MetricRegistry;
  readonly port: BrokerPort;
  /** An operator's call; resolves when what it changed is on disk. */
  operate(method: string, parameters: object): Promise<Operated>;
  /** Why the broker should get no traffic; undefined when it should. */
  notReadyBecause(): string | undefined;
}

/** The routes of the broker's admin port; the same conventions as the sidecar's. */
export function defineAdminRoutes(server: AdminServer, subject: AdminSubject): void {
  /** Topics that have had open transactions or delayed messages: their gauges go back to 0. */
  const transactionTopics = new Set<string>();
  const delayedTopics = new Set<string>();
  /** Of the last look, by their text: instances of broadcast groups and deleted topics go. */
  const lagLabels = new Map<string, { readonly group: string; readonly topic: string }>();
  const lanes = new LaneMetrics();
  server.route("GET", "/ready", () => {
    const reason = subject.notReadyBecause();
    return reason === undefined ? textAnswer(200, "ready") : textAnswer(503, reason);
  });
  server.route("GET", "/healthz", () => textAnswer(200, "alive"));
  server.route("GET", "/stats/prometheus", async () => {
    refreshLag(subject, transactionTopics, lagLabels);
    refreshDelayed(subject, delayedTopics);
    lanes.refresh(subject.metrics, await laneOutcomesOf(subject));
    return {
      status: 200,
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      body: subject.metrics.prometheusText(),
    };
  });
  server.route("GET", "/config_dump", () => jsonAnswer(200, subject.config));
  // The kill switch (docs/lane-rules.md): it works with nothing but this process.
  const operated = async (method: string, parameters: object) => {
    const answer = await subject.operate(method, parameters);
    if (!answer.ok) return jsonAnswer(503, { error: answer.message });
    return jsonAnswer(200, { broker: subject.config.name, ...answer.result });
  };
  server.route("GET", "/lanes", () => operated("lanes.status", {}));
  server.route("POST", "/lanes", ({ query, header }) => {
    const state = query.get("state");
    if (state !== "off" && state !== "on") return jsonAnswer(400, { error: "POST /lanes?state=off or ?state=on" });
    return operated("lanes.switch", { state, by: `admin port, ${(header("x-popmesh-client") ?? "").slice(0, 64)}` });
  });
  server.route("GET", "/queues", () =>
    jsonAnswer(200, { topics: subject.port.topics(), subscriptions: subject.port.subscriptions() }),
  );
}

/** The same that operators are told. */
async function laneOutcomesOf({ operate }: AdminSubject): Promise<readonly LaneOutcomeFigures[]> {
  const operated = await operate("lane.outcomes", {});
  if (!operated.ok) return [];
  return (operated.result as { readonly items: readonly LaneOutcomeFigures[] }).items;
}

const lagMetrics = ["ready_messages", "blocked_messages", "in_flight_messages", "dead_letters"].map(
  (what) => `popmesh_broker_${what}`,
);

/** Lag is read when somebody asks: counting it on every message would cost every message. */
function refreshLag(
  { metrics, port }: AdminSubject,
  transactionTopics: Set<string>,
  known: Map<string, { readonly group: string; readonly topic: string }>,
): void {
  const before = new Map(known);
  known.clear();
  for (const { group, topic, ready, blocked, inFlight, deadLetters } of port.subscriptions()) {
    const labels = { group, topic };
    const key = `${group}\n${topic}`;
    known.set(key, labels);
    before.delete(key);
    metrics.gauge("popmesh_broker_ready_messages", "Messages a group could get now.", labels).set(ready);
    metrics
      .gauge("popmesh_broker_blocked_messages", "Messages behind an earlier one of their message group.", labels)
      .set(blocked);
    metrics.gauge("popmesh_broker_in_flight_messages", "Messages handed out and not settled.", labels).set(inFlight);
    metrics.gauge("popmesh_broker_dead_letters", "Messages moved to the dead-letter queue.", labels).set(deadLetters);
  }
  for (const labels of before.values()) for (const name of lagMetrics) metrics.remove(name, labels);
  for (const topic of transactionTopics) openTransactionsOf(metrics, topic).set(0);
  for (const { topic, count } of port.openTransactions()) {
    transactionTopics.add(topic);
    openTransactionsOf(metrics, topic).set(count);
  }
}

function openTransactionsOf(metrics: MetricRegistry, topic: string): Gauge {
  const help = "Half messages whose transactions are open.";
  return metrics.gauge("popmesh_broker_open_transactions", help, { topic });
}

function refreshDelayed({ metrics, port }: AdminSubject, topics: Set<string>): void {
  for (const topic of topics) delayedOf(metrics, topic).set(0);
  for (const { topic, count } of port.delayedMessages()) {
    topics.add(topic);
    delayedOf(metrics, topic).set(count);
  }
}

function delayedOf(metrics: MetricRegistry, topic: string): Gauge {
  return metrics.gauge("popmesh_broker_delayed_messages", "Messages that wait for their time.", { topic });
}
