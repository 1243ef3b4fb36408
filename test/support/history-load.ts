import { createHash } from "node:crypto";
import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import type { HistoryEvent } from "./history.ts";
import { message, type RawV2Client, receiveRequest } from "./raw-v2-client.ts";

export interface HistoryLoadOptions {
  readonly topic: string;
  readonly group: string;
  readonly producerCount: number;
  readonly consumerCount: number;
  readonly bodyBytes: number;
  readonly invisibleMs: number;
  /** Share of first hand-outs that are kept unacked, so that leases run out under load too. */
  readonly keptShare: number;
  /** Messages per second of all producers together; left out: as fast as answers come. */
  readonly ratePerSecond?: number;
  /** A client for the application's next call; restarted sidecars keep their address. */
  readonly client: (number: number) => RawV2Client;
}

const callMsMax = 5_000;
const waitSeconds = 1;
/** Receipts in one ack: what a receive brought. */
const batchMax = 16;

/** Applications on the v2 API that keep book of every call and answer, for the history checker. */
export class HistoryLoad {
  readonly events: HistoryEvent[] = [];
  /** Milliseconds of each send that was answered OK, in a paced load from when it was due. */
  readonly sendMs: number[] = [];
  readonly #options: HistoryLoadOptions;
  readonly #loops: Promise<void>[] = [];
  #faultUntilMs = 0;
  #sent = 0;
  #sentInFaults = 0;
  #nextId = 0;
  #isSending = true;
  #isReceiving = true;
  isDraining = false;

  constructor(options: HistoryLoadOptions) {
    this.#options = options;
  }

  get sentCount(): number {
    return this.#sent;
  }

  /** Sends that were answered OK while something was wrong. */
  get sentInFaults(): number {
    return this.#sentInFaults;
  }

  start(): void {
    const { producerCount, consumerCount } = this.#options;
    for (let i = 0; i < producerCount; i++) this.#loops.push(this.#produce(i));
    for (let i = 0; i < consumerCount; i++) this.#loops.push(this.#consume(i));
  }

  stopSending(): void {
    this.#isSending = false;
  }

  async stop(): Promise<void> {
    this.#isSending = false;
    this.#isReceiving = false;
    await Promise.all(this.#loops);
  }

  /** A fault from now on for so long, at most. */
  fault(windowMs: number): void {
    const t0 = performance.now();
    this.#faultUntilMs = Math.max(this.#faultUntilMs, t0 + windowMs);
    this.events.push({ op: "fault", t0, t1: t0 + windowMs, result: "ok" });
  }

  mark(op: "healed" | "drained"): void {
    const now = performance.now();
    this.events.push({ op, t0: now, t1: now, result: "ok" });
  }

  async #produce(number: number): Promise<void> {
    const { ratePerSecond, producerCount } = this.#options;
    const periodMs = ratePerSecond === undefined ? 0 : (1_000 * producerCount) / ratePerSecond;
    let dueMs = performance.now() + Math.random() * periodMs;
    const open = new Set<Promise<void>>();
    while (this.#isSending) {
      if (periodMs === 0) {
        await this.#send(number, performance.now());
        continue;
      }
      await until(dueMs);
      // Whether it is answered or not, the next one is due: a slow answer must not make the load lighter.
      const sending = this.#send(number, dueMs).finally(() => open.delete(sending));
      open.add(sending);
      dueMs += periodMs;
    }
    await Promise.all(open);
  }

  async #send(number: number, dueMs: number): Promise<void> {
    const { topic, bodyBytes, client } = this.#options;
    const body = Buffer.alloc(bodyBytes, `${number}/${this.#nextId++}/`);
    const tag = `tag-${number % 3}`;
    const sent = message(topic, body, { tag });
    const id = sent.systemProperties!.messageId!;
    const t0 = performance.now();
    const answer = await client(number)
      .call("SendMessage", { messages: [sent] }, { deadlineMs: callMsMax })
      .catch(() => undefined);
    const t1 = performance.now();
    const code = answer?.status?.code;
    const result = code === Code.Ok ? "ok" : isOpen(code) ? "info" : "fail";
    this.events.push({
      ...{ op: "send", client: `p${number}`, t0, t1, result, id, topic, digest: digestOf(body), tag },
      ...(code === undefined ? {} : { code }),
    });
    if (result === "ok") {
      this.#sent++;
      if (t0 <= this.#faultUntilMs) this.#sentInFaults++;
      this.sendMs.push(t1 - dueMs);
    } else await pause(20);
  }

  async #consume(number: number): Promise<void> {
    const { topic, group, invisibleMs, client } = this.#options;
    const acks: Promise<void>[] = [];
    while (this.#isReceiving) {
      const t0 = performance.now();
      const request = receiveRequest(topic, group, {
        invisibleDuration: durationOf(invisibleMs),
        longPollingTimeout: { seconds: waitSeconds, nanos: 0 },
        batchSize: batchMax,
      });
      const received = await client(number)
        .receive(request, { deadlineMs: callMsMax })
        .catch(() => undefined);
      const t1 = performance.now();
      const call = { op: "receive", client: `c${number}`, t0, t1, topic, group } as const;
      if (received === undefined || isOpen(received.code)) {
        this.events.push({ ...call, result: "info" });
        await pause(20);
        continue;
      }
      const taken = received.messages.map((got) => this.#took(call, got));
      if (taken.length === 0) {
        const isEmpty = received.code === Code.Ok || received.code === Code.MessageNotFound;
        this.events.push({ ...call, result: isEmpty ? "ok" : "fail" });
        if (!isEmpty) await pause(20);
        continue;
      }
      const kept = ({ attempt }: Taken): boolean =>
        attempt === 1 && !this.isDraining && Math.random() < this.#options.keptShare;
      const toAck = taken.filter((one) => !kept(one));
      if (toAck.length > 0) acks.push(this.#ack(number, toAck, t0 + invisibleMs));
    }
    await Promise.all(acks);
  }

  #took(call: Omit<HistoryEvent, "result">, got: apache.rocketmq.v2.Message): Taken {
    const {
      messageId = "",
      receiptHandle = "",
      deliveryAttempt,
      queueId,
      queueOffset,
      tag,
    } = got.systemProperties ?? {};
    const attempt = deliveryAttempt ?? 1;
    const taken = { id: messageId ?? "", receipt: receiptHandle ?? "", attempt };
    this.events.push({
      ...{ ...call, result: "ok", ...taken, queue: queueId ?? 0, offset: Number(queueOffset) },
      ...{ digest: digestOf(got.body), invisibleMs: this.#options.invisibleMs },
      ...(tag ? { tag } : {}),
    });
    return taken;
  }

  /** Until there is an answer or the receipts are over: an ack whose answer was lost may have been taken. */
  async #ack(number: number, taken: readonly Taken[], untilMs: number): Promise<void> {
    const { topic, group, client } = this.#options;
    let left = taken;
    while (left.length > 0 && performance.now() < untilMs) {
      const t0 = performance.now();
      const entries = left.map(({ id, receipt }) => ({ messageId: id, receiptHandle: receipt }));
      const answer = await client(number)
        .call("AckMessage", { group: { name: group }, topic: { name: topic }, entries }, { deadlineMs: callMsMax })
        .catch(() => undefined);
      const t1 = performance.now();
      const open: Taken[] = [];
      for (const [i, one] of left.entries()) {
        const code = answer?.entries[i]?.status?.code ?? answer?.status?.code;
        const result = code === Code.Ok ? "ok" : isOpen(code) ? "info" : "fail";
        this.events.push({
          op: "ack",
          client: `c${number}`,
          t0,
          t1,
          result,
          topic,
          group,
          id: one.id,
          receipt: one.receipt,
        });
        if (result === "info") open.push(one);
      }
      left = open;
      if (left.length > 0) await pause(50);
    }
  }
}

interface Taken {
  readonly id: string;
  readonly receipt: string;
  readonly attempt: number;
}

/** Whether what was asked may have been done: no answer, or one that promises nothing. */
function isOpen(code: number | undefined): boolean {
  return code === undefined || code === Code.InternalServerError || code === Code.ProxyTimeout;
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}

function durationOf(ms: number): { seconds: number; nanos: number } {
  return { seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 };
}

/** Between two calls of a client that was refused, as applications do. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function until(atMs: number): Promise<void> {
  return pause(Math.max(0, atMs - performance.now()));
}
