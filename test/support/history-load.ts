import { createHash } from "node:crypto";
import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import type { HistoryEvent } from "./history.ts";
import { HistoryBook } from "./history-book.ts";
import { message, type RawV2Client, receiveRequest } from "./raw-v2-client.ts";
import { testSeed } from "./test-seed.ts";

export interface HistoryLoadOptions {
  readonly topic: string;
  readonly group: string;
  readonly producerCount: number;
  readonly consumerCount: number;
  readonly bodyBytes: number;
  readonly invisibleMs: number;
  /** Share of first hand-outs that are kept unacked, so that leases run out under load too. */
  readonly keptShare: number;
  /**
   * So many messages at this rate, of all producers together, each sent when it is due whatever became of those before: a server
   * that stalls is not measured by a client that waits for it. Left out: as fast as answers come, until `stopSending`.
   */
  readonly pace?: { readonly perSecond: number; readonly count: number };
  /** A client for the application's next call; restarted sidecars keep their address. */
  readonly client: (number: number) => Pick<RawV2Client, "call" | "receive">;
}

const callMsMax = 5_000;
const waitSeconds = 1;
/** Receipts in one ack: what a receive brought. */
const batchMax = 16;
/** How often a paced load looks at what is due. */
const tickMs = 1;

/** Applications on the v2 API that keep book of every call and answer, for the history checker. */
export class HistoryLoad {
  /** Milliseconds of each send that was answered OK, in a paced load from when it was due. */
  readonly sendMs: number[] = [];
  /** Of the same sends: how much of it the client was late to begin with. */
  readonly lateMs: number[] = [];
  readonly #book = new HistoryBook();
  readonly #randomness = new SeededRandomness(testSeed);
  readonly #options: HistoryLoadOptions;
  /** What a paced load has sent and is not answered. */
  readonly #open = new Set<Promise<void>>();
  readonly #loops: Promise<void>[] = [];
  #faultUntilMs = 0;
  #sent = 0;
  #acked = 0;
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

  /** Acks that were answered OK. */
  get ackedCount(): number {
    return this.#acked;
  }

  /** Sends that were answered OK while something was wrong. */
  get sentInFaults(): number {
    return this.#sentInFaults;
  }

  start(): void {
    const { producerCount, consumerCount, pace: paced } = this.#options;
    if (paced !== undefined) this.#loops.push(this.#producePaced(paced.perSecond, paced.count));
    else for (let i = 0; i < producerCount; i++) this.#loops.push(this.#produce(i));
    for (let i = 0; i < consumerCount; i++) this.#loops.push(this.#consume(i));
  }

  /** Everything so far; decoded with every call, so for the end. */
  get events(): HistoryEvent[] {
    return this.#book.read();
  }

  get isSending(): boolean {
    return this.#isSending;
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
    this.#book.add({ op: "fault", t0, t1: t0 + windowMs, result: "ok" });
  }

  mark(op: "healed" | "drained"): void {
    const now = performance.now();
    this.#book.add({ op, t0: now, t1: now, result: "ok" });
  }

  async #produce(number: number): Promise<void> {
    while (this.#isSending) await this.#send(number, performance.now());
  }

  async #producePaced(perSecond: number, count: number): Promise<void> {
    const { producerCount } = this.#options;
    let dueMs = performance.now();
    for (let i = 0; i < count && this.#isSending; await pause(tickMs)) {
      for (; i < count && dueMs <= performance.now(); i++) {
        const sending = this.#send(i % producerCount, dueMs).finally(() => this.#open.delete(sending));
        this.#open.add(sending);
        // Exponential gaps: arrivals that know nothing of each other.
        dueMs += (-Math.log(1 - this.#randomness.fraction()) * 1_000) / perSecond;
      }
    }
    await Promise.all(this.#open);
    this.#isSending = false;
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
    this.#book.add({
      ...{ op: "send", client: `p${number}`, t0, t1, result, id, topic, digest: digestOf(body), tag },
      ...(code === undefined ? {} : { code }),
    });
    if (result === "ok") {
      this.#sent++;
      if (t0 <= this.#faultUntilMs) this.#sentInFaults++;
      this.sendMs.push(t1 - dueMs);
      this.lateMs.push(t0 - dueMs);
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
        this.#book.add({ ...call, result: "info" });
        await pause(20);
        continue;
      }
      const taken = received.messages.map((got) => this.#took(call, got));
      if (taken.length === 0) {
        const isEmpty = received.code === Code.Ok || received.code === Code.MessageNotFound;
        this.#book.add({ ...call, result: isEmpty ? "ok" : "fail" });
        if (!isEmpty) await pause(20);
        continue;
      }
      const kept = ({ attempt }: Taken): boolean =>
        attempt === 1 && !this.isDraining && this.#randomness.fraction() < this.#options.keptShare;
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
    this.#book.add({
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
        this.#book.add({
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
        if (result === "ok") this.#acked++;
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
