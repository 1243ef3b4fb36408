import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Code } from "../../proto/code.ts";
import type { BrokerCoreUpstream } from "../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import { checkHistory, type HistoryEvent, type HistoryReport } from "./history-checker.ts";
import { cpuMicros } from "./process-usage.ts";
import { type BrokerProcess, connectUpstream } from "./start-broker.ts";
import { encodedMessage, groupRef, messageGroupOf, messageIdOf, topicRef, UpstreamClient } from "./upstream-client.ts";
import { waitUntil } from "./wait-until.ts";

const topic = topicRef("killed", { queueCount: 4, messageTypes: 0b1110 });
const group = groupRef("survivors", { attemptsMax: 0 });
const producerCount = 16;
const consumerCount = 4;
/** Short enough that what was held at a kill comes again within the run, longer than a restart takes. */
const invisibleMs = 3_000;
/** Consumers keep this share of what they get unacked, so that leases run out under load too. */
const keptShare = 20;
/** One message in so many belongs to one of so many message groups. */
const groupedShare = 4;
const messageGroups = 24;
/** One in so many is to be delivered later, some of them only after the next kill. */
const timedShare = 5;
const aheadMsMax = 3_000;
const drainMsMax = 30_000;

export interface BrokerKillReport {
  readonly rounds: number;
  readonly unknownSends: number;
  readonly readyMs: readonly number[];
  /** Processor time of each start until then. */
  readonly readyCpuMs: readonly number[];
  readonly history: HistoryReport;
}

/**
 * Kills a broker process with SIGKILL `rounds` times while a driver sends, receives and acks, then lets everything drain.
 * At least `progress` sends are acknowledged between two kills: a run that did nothing cannot pass.
 */
export async function killBrokerUnderLoad(
  broker: BrokerProcess,
  rounds: number,
  progress: number,
): Promise<BrokerKillReport> {
  const run = new LoadRun(broker);
  const readyMs: number[] = [];
  const readyCpuMs: number[] = [];
  try {
    run.start();
    for (let round = 0; round < rounds; round++) {
      await run.progress(progress);
      readyMs.push(await broker.killAndRestart());
      readyCpuMs.push(cpuMicros(broker.process.child.pid ?? 0) / 1_000);
    }
    run.healed();
    await run.progress(progress);
    await run.drain();
  } finally {
    await run.stop();
  }
  return { rounds, readyMs, readyCpuMs, ...run.report() };
}

/** One line for the table of a run. */
export function killSummary({ rounds, unknownSends, readyMs, readyCpuMs, history }: BrokerKillReport): string {
  const { sendsOk, deliveries, redeliveries, acksOk, recovered } = history.counts;
  return (
    `broker: ${rounds} kills, ${sendsOk} sends acknowledged, ${unknownSends} unknown (${recovered} were stored), ` +
    `${deliveries} handed out (${redeliveries} redelivered), ${acksOk} acked, ` +
    `${history.violations.length} violations, ready again after at most ${Math.round(Math.max(...readyMs))} ms, ` +
    `${Math.round(Math.max(...readyCpuMs))} ms of the processor`
  );
}

/**
 * Nothing that the history checker knows of went wrong (C1 to C11), and no start took more than 2 s of the processor until it was
 * ready: what others do on the machine meanwhile is not the broker's. `node dist/test/bench/recovery.js` measures it on the wall.
 */
export function assertSurvived(report: BrokerKillReport): void {
  assert.deepEqual(report.history.violations, []);
  const { readyMs, readyCpuMs } = report;
  assert.ok(Math.max(...readyCpuMs) <= 2_000, `ready after ${readyMs} ms, of the processor ${readyCpuMs} ms`);
}

class LoadRun {
  readonly #broker: BrokerProcess;
  readonly #upstream: BrokerCoreUpstream;
  readonly #client: UpstreamClient;
  readonly #events: HistoryEvent[] = [];
  readonly #loops: Promise<void>[] = [];
  readonly #sentIds = new Set<string>();
  #nextId = 0;
  #isSending = true;
  #isReceiving = true;
  #failure: unknown;

  constructor(broker: BrokerProcess) {
    this.#broker = broker;
    this.#upstream = connectUpstream(broker.port);
    this.#client = new UpstreamClient(this.#upstream);
  }

  start(): void {
    for (let i = 0; i < producerCount; i++) this.#loops.push(this.#guard(this.#produce(`producer-${i}`)));
    for (let i = 0; i < consumerCount; i++) this.#loops.push(this.#guard(this.#consume(`consumer-${i}`)));
  }

  /** Waits until `count` more sends were acknowledged. */
  async progress(count: number): Promise<void> {
    const target = this.#sentIds.size + count;
    await waitUntil(`${count} more sends`, () => this.#look(() => this.#sentIds.size >= target), 20_000);
  }

  /** No more faults from here on. */
  healed(): void {
    const now = performance.now();
    this.#events.push({ op: "healed", t0: now, t1: now, result: "ok" });
  }

  /** Stops sending and waits until the group came back empty, with nothing in flight; the history tells if it never did. */
  async drain(): Promise<void> {
    this.#isSending = false;
    const endMs = performance.now() + drainMsMax;
    let emptyLooks = 0;
    await waitUntil(
      "a drain",
      async () => {
        if (this.#failure !== undefined) throw this.#failure;
        emptyLooks = (await this.#isEmpty()) ? emptyLooks + 1 : 0;
        return emptyLooks === 2 || performance.now() > endMs;
      },
      2 * drainMsMax,
    );
    const now = performance.now();
    if (emptyLooks === 2) this.#events.push({ op: "drained", t0: now, t1: now, result: "ok" });
  }

  async #isEmpty(): Promise<boolean> {
    const answer = await fetch(`http://127.0.0.1:${this.#broker.adminPort}/queues`);
    const { subscriptions, topics } = (await answer.json()) as {
      subscriptions: { group: string; ready: number; inFlight: number }[];
      topics: { delayed: number }[];
    };
    if (topics.some(({ delayed }) => delayed > 0)) return false;
    return subscriptions.every(({ ready, inFlight }) => ready + inFlight === 0);
  }

  async stop(): Promise<void> {
    this.#isSending = false;
    this.#isReceiving = false;
    await Promise.all(this.#loops);
    await this.#upstream.close(1_000);
    if (this.#failure !== undefined) throw this.#failure;
  }

  report(): Omit<BrokerKillReport, "rounds" | "readyMs" | "readyCpuMs"> {
    return {
      unknownSends: this.#events.filter(({ op, result }) => op === "send" && result === "info").length,
      history: checkHistory(this.#events, { subscriptions: [{ group: group.name, topic: topic.name }] }),
    };
  }

  async #produce(client: string): Promise<void> {
    while (this.#isSending) {
      const number = this.#nextId++;
      const id = `m-${number}`;
      const key = number % groupedShare === 0 ? `key-${(number / groupedShare) % messageGroups}` : undefined;
      const body = Buffer.alloc(512, number & 0xff);
      const aheadMs = key === undefined && number % timedShare === 1 ? 50 + ((number * 37) % aheadMsMax) : 0;
      // Before the wall clock is read: a pause between the two must not make the target later than the time that was asked for.
      const t0 = performance.now();
      const deliveryMs = Date.now() + aheadMs;
      const bytes = encodedMessage(id, {
        body,
        ...(key === undefined ? {} : { messageGroup: key }),
        ...(aheadMs === 0 ? {} : { deliveryMs }),
      });
      const answer = await this.#client.send(topic, [bytes]);
      const result = answer.ok ? "ok" : answer.reach === "unknown" ? "info" : "fail";
      const isPlaced = answer.ok && (answer.recallHandles?.length ?? 0) === 0;
      const place = isPlaced ? { queue: answer.queueId, offset: answer.firstOffset } : {};
      // The wall clock tells whole milliseconds, the history's own clock parts of them.
      const time = aheadMs === 0 ? {} : { targetMs: t0 + aheadMs - 1 };
      this.#events.push({
        ...{ op: "send", client, t0, t1: performance.now(), result, id, topic: topic.name },
        ...{ digest: digestOf(bytes), ...place, ...time, ...(key === undefined ? {} : { key }) },
      });
      if (answer.ok) this.#sentIds.add(id);
    }
  }

  async #consume(client: string): Promise<void> {
    while (this.#isReceiving) {
      const t0 = performance.now();
      const answer = await this.#client.receive(topic, group, {
        batch: 16,
        invisibleMs,
        waitMs: 500,
        clientId: client,
      });
      const seen = { op: "receive", client, t0, t1: performance.now(), topic: topic.name, group: group.name } as const;
      if (!answer.ok) {
        this.#events.push({ ...seen, result: answer.reach === "unknown" ? "info" : "fail" });
        continue;
      }
      for (const delivery of answer.deliveries) {
        const { queueId: queue, offset, attempt, receipt, message } = delivery;
        const id = messageIdOf(delivery);
        const key = messageGroupOf(delivery);
        this.#events.push({
          ...{ ...seen, result: "ok", id, queue, offset, attempt, receipt, invisibleMs },
          ...{ digest: digestOf(message), ...(key === "" ? {} : { key }) },
        });
        const isKept = attempt === 1 && this.#isSending && offset % keptShare === 0;
        if (!isKept) this.#loops.push(this.#guard(this.#ack(client, id, receipt)));
      }
    }
  }

  async #ack(client: string, id: string, receipt: string): Promise<void> {
    const t0 = performance.now();
    const results = await this.#client.ack(group, receipt);
    const isAcked = results.ok && results.results[0]?.code === Code.Ok;
    const result = isAcked ? "ok" : results.ok || results.reach !== "unknown" ? "fail" : "info";
    this.#events.push({ op: "ack", client, t0, t1: performance.now(), result, id, receipt, group: group.name });
  }

  #look(condition: () => boolean): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    return condition();
  }

  async #guard(loop: Promise<void>): Promise<void> {
    try {
      await loop;
    } catch (error) {
      this.#failure ??= error;
    }
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}
