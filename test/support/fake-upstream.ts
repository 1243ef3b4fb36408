import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import type {
  Delivery,
  LaneConsumer,
  OrphanedTransaction,
  Upstream,
  UpstreamAck,
  UpstreamChange,
  UpstreamDone,
  UpstreamFailure,
  UpstreamLiteSync,
  UpstreamOffset,
  UpstreamOffsetAnswer,
  UpstreamPull,
  UpstreamPullAnswer,
  UpstreamRecall,
  UpstreamRecalled,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSend,
  UpstreamSendAnswer,
  UpstreamTransactionEnd,
} from "../../sidecar/upstream/upstream.ts";

interface Stored {
  readonly bytes: Buffer;
  readonly offset: number;
  readonly tag: string;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly storeMs: number;
}

interface Half {
  readonly topic: string;
  readonly stored: Omit<Stored, "offset">;
  end: "open" | "committed" | "rolled back";
}

/** MessageType TRANSACTION. */
const transactional = 4;

interface Lease {
  readonly message: Stored;
  attempts: number;
  /** Rises with each hand-out; a receipt of an older one is void. */
  generation: number;
  state: "ready" | "leased" | "acked";
  visibleMs: number;
}

interface Parked {
  readonly request: UpstreamReceive;
  readonly done: (answer: UpstreamReceiveAnswer) => void;
  readonly timer: NodeJS.Timeout;
}

/** A broker in memory that behaves as the upstream port promises, and as badly as a test tells it to. */
export class FakeUpstream implements Upstream {
  readonly brokerName: string;
  isReady = true;
  openRequestCount = 0;
  /** Everything asked of it. */
  readonly sends: { readonly topic: string; readonly messages: readonly Buffer[]; readonly laneMark: string }[] = [];
  readonly receives: UpstreamReceive[] = [];
  readonly changes: { readonly receipt: string; readonly kind: string; readonly invisibleMs: number }[] = [];
  cancelCount = 0;
  /** When set, sends are answered so; "silent" answers nothing until the deadline. */
  sendFailure: UpstreamFailure | "silent" | undefined;
  ackFailure: UpstreamFailure | undefined;
  receiveFailure: UpstreamFailure | undefined;
  /** Fails that many acks, then works again. */
  ackFailures = 0;
  /** Half messages by transaction id. */
  readonly halves = new Map<string, Half>();
  readonly ends: UpstreamTransactionEnd[] = [];
  /** Loses the connection over that many ends of transactions, then works again. */
  endFailures = 0;
  readonly recalls: UpstreamRecall[] = [];
  recallAnswer: UpstreamRecalled = { ok: true, messageId: "" };
  /** Loses the connection over that many recalls, then works again. */
  recallFailures = 0;
  readonly announced: [topic: string, isLive: boolean][] = [];
  /** What it was told of consumers, each time "group topic" of all. */
  readonly consumers: string[][] = [];
  onOrphan: ((orphan: OrphanedTransaction) => void) | undefined;
  /** Holds the answers of receives back; see `releaseReceives`. */
  holdReceives = false;
  readonly #held: (() => void)[] = [];
  readonly #logs = new Map<string, Stored[]>();
  readonly #leases = new Map<string, Map<number, Lease>>();
  readonly #receipts = new Map<
    string,
    { readonly group: string; readonly topic: string; readonly offset: number; generation: number }
  >();
  readonly #parked = new Set<Parked>();
  #receiptCount = 0;

  constructor(brokerName: string) {
    this.brokerName = brokerName;
  }

  get parkedCount(): number {
    return this.#parked.size;
  }

  /** Messages that the group holds and has not settled. */
  leasedCount(topic: string, group: string): number {
    return [...this.#leasesOf(topic, group).values()].filter(
      (lease) => lease.state === "leased" && lease.visibleMs > performance.now(),
    ).length;
  }

  send(request: UpstreamSend, deadlineMs: number, done: (answer: UpstreamSendAnswer) => void): void {
    const messages = request.messages.map((view) => Buffer.from(view));
    this.sends.push({ topic: request.topic.name, messages, laneMark: request.laneMark });
    this.openRequestCount++;
    const answer = (result: UpstreamSendAnswer) => {
      this.openRequestCount--;
      done(result);
    };
    const failure = this.sendFailure;
    if (failure === "silent") {
      const afterMs = Math.max(0, deadlineMs - monotonicMs());
      setTimeout(() => answer(failed(Code.ProxyTimeout, "no answer from the broker in time", "unknown")), afterMs);
      return;
    }
    if (failure !== undefined) {
      setImmediate(() => answer(failure));
      return;
    }
    const log = this.#logOf(request.topic.name);
    const firstOffset = log.length;
    const scan = new MessageScan();
    const recallHandles: string[] = [];
    for (const bytes of messages) {
      scanMessage(bytes, 0, bytes.length, scan);
      const { bornHost, laneMark } = request;
      const stored = { bytes, tag: scan.text(scan.tagStart, scan.tagEnd), bornHost, laneMark, storeMs: Date.now() };
      if (scan.messageType === transactional) {
        const transactionId = `${this.brokerName}.t${this.halves.size + 1}`;
        this.halves.set(transactionId, { topic: request.topic.name, stored, end: "open" });
        setImmediate(() => answer({ ok: true, queueId: 0, firstOffset: 0, storeMs: stored.storeMs, transactionId }));
        return;
      }
      if (scan.hasDeliveryTimestamp) recallHandles.push(`${this.brokerName}.r${recallHandles.length + 1}`);
      else log.push({ ...stored, offset: log.length });
    }
    setImmediate(() => {
      answer({ ok: true, queueId: 0, firstOffset, storeMs: Date.now(), transactionId: "", recallHandles });
      this.#wake();
    });
  }

  receive(request: UpstreamReceive, _deadlineMs: number, done: (answer: UpstreamReceiveAnswer) => void): () => void {
    this.receives.push(request);
    const failure = this.receiveFailure;
    if (failure !== undefined) {
      setImmediate(() => done(failure));
      return () => {};
    }
    const answer = (result: UpstreamReceiveAnswer) => {
      if (this.holdReceives) this.#held.push(() => done(result));
      else setImmediate(() => done(result));
    };
    const deliveries = this.#take(request);
    if (deliveries.length > 0 || request.waitMs === 0) {
      answer({ ok: true, deliveries });
      return () => {
        this.cancelCount++;
      };
    }
    const parked: Parked = {
      request,
      done: answer,
      timer: setTimeout(() => this.#unpark(parked, []), request.waitMs),
    };
    this.#parked.add(parked);
    return () => {
      if (!this.#parked.has(parked)) return;
      this.cancelCount++;
      this.#unpark(parked, []);
    };
  }

  /** Lets answers go that were held back. */
  releaseReceives(): void {
    this.holdReceives = false;
    for (const release of this.#held.splice(0)) setImmediate(release);
  }

  ack(request: UpstreamAck, _deadlineMs: number, done: (answer: UpstreamResults) => void): void {
    const failure = this.ackFailures > 0 ? connectionLost : this.ackFailure;
    if (failure !== undefined) {
      if (this.ackFailures > 0) this.ackFailures--;
      setImmediate(() => done(failure));
      return;
    }
    const results = request.receipts.map((receipt) => this.#settle(receipt, request.group.name));
    setImmediate(() => done({ ok: true, results }));
  }

  /** Receipts whose messages were given up, in order. */
  readonly deadLetters: string[] = [];

  deadLetter(request: UpstreamAck, deadlineMs: number, done: (answer: UpstreamResults) => void): void {
    this.deadLetters.push(...request.receipts);
    this.ack(request, deadlineMs, done);
  }

  /** Pulls and offset calls, in order; answered as the next test wants. */
  readonly offsetCalls: (UpstreamPull | UpstreamOffset)[] = [];
  pullAnswer: UpstreamPullAnswer = { ok: true, deliveries: [], nextOffset: 0 };
  offsetAnswer: UpstreamOffsetAnswer = { ok: true, offset: 0 };

  readonly liteSyncs: UpstreamLiteSync[] = [];
  liteAnswer: UpstreamDone = { ok: true };

  syncLite(request: UpstreamLiteSync, _deadlineMs: number, done: (answer: UpstreamDone) => void): void {
    this.liteSyncs.push(request);
    setImmediate(() => done(this.liteAnswer));
  }

  pull(request: UpstreamPull, _deadlineMs: number, done: (answer: UpstreamPullAnswer) => void): void {
    this.offsetCalls.push(request);
    setImmediate(() => done(this.pullAnswer));
  }

  offset(request: UpstreamOffset, _deadlineMs: number, done: (answer: UpstreamOffsetAnswer) => void): void {
    this.offsetCalls.push(request);
    setImmediate(() => done(this.offsetAnswer));
  }

  change(request: UpstreamChange, _deadlineMs: number, done: (answer: UpstreamResults) => void): void {
    const results = request.changes.map((change) => {
      this.changes.push(change);
      const known = this.#receipts.get(change.receipt);
      const lease = known === undefined ? undefined : this.#leasesOf(known.topic, known.group).get(known.offset);
      const isCurrent = known !== undefined && lease?.state === "leased" && lease.generation === known.generation;
      if (known === undefined || lease === undefined || !isCurrent) return invalidReceipt;
      if (change.kind === "extend") {
        lease.visibleMs = performance.now() + change.invisibleMs;
        return { code: Code.Ok, message: "OK", receipt: change.receipt };
      }
      if (change.kind === "hand-back") {
        lease.state = "ready";
        lease.attempts--;
        lease.visibleMs = 0;
        setImmediate(() => this.#wake());
        return { code: Code.Ok, message: "OK", receipt: change.receipt };
      }
      lease.generation++;
      if (change.kind === "suspend") lease.attempts--;
      lease.visibleMs = performance.now() + change.invisibleMs;
      setTimeout(() => this.#wake(), change.invisibleMs + 1).unref();
      return { code: Code.Ok, message: "OK", receipt: this.#newReceipt(known.group, known.topic, lease) };
    });
    setImmediate(() => done({ ok: true, results }));
  }

  endTransaction(request: UpstreamTransactionEnd, _deadlineMs: number, done: (answer: UpstreamDone) => void): void {
    this.ends.push(request);
    const half = this.halves.get(request.transactionId);
    const failure = this.endFailures > 0 ? connectionLost : half === undefined ? unknownTransaction : undefined;
    if (this.endFailures > 0) this.endFailures--;
    if (half !== undefined && failure === undefined && half.end === "open") {
      half.end = request.resolution === 1 ? "committed" : request.resolution === 2 ? "rolled back" : "open";
      const log = this.#logOf(half.topic);
      if (half.end === "committed") log.push({ ...half.stored, offset: log.length });
    }
    setImmediate(() => {
      done(failure ?? { ok: true });
      this.#wake();
    });
  }

  recall(request: UpstreamRecall, _deadlineMs: number, done: (answer: UpstreamRecalled) => void): void {
    this.recalls.push(request);
    const answer = this.recallFailures > 0 ? connectionLost : this.recallAnswer;
    if (this.recallFailures > 0) this.recallFailures--;
    setImmediate(() => done(answer));
  }

  announceConsumers(consumers: readonly LaneConsumer[]): void {
    this.consumers.push(consumers.map(({ group, topic }) => `${group} ${topic}`));
  }

  announceProducer(topic: string, isLive: boolean): void {
    this.announced.push([topic, isLive]);
  }

  /** Asks about a transaction, as the broker does when its time has come. */
  checkBack(transactionId: string): void {
    const half = this.halves.get(transactionId);
    if (half === undefined) throw new Error(`no transaction ${transactionId}`);
    const { topic, stored } = half;
    const { storeMs, bornHost } = stored;
    this.onOrphan?.({
      topic,
      transactionId,
      message: Buffer.from(stored.bytes),
      storeMs,
      bornHost,
      lane: stored.laneMark,
    });
  }

  close(): Promise<void> {
    this.isReady = false;
    for (const parked of [...this.#parked]) this.#unpark(parked, []);
    return Promise.resolve();
  }

  #take(request: UpstreamReceive): Delivery[] {
    const topic = request.topic.name;
    const leases = this.#leasesOf(topic, request.group.name);
    const nowMs = performance.now();
    const deliveries: Delivery[] = [];
    for (const message of this.#logOf(topic)) {
      if (deliveries.length === request.batch) break;
      let lease = leases.get(message.offset);
      if (lease === undefined) {
        leases.set(message.offset, (lease = { message, attempts: 0, generation: 0, state: "ready", visibleMs: 0 }));
      }
      if (lease.state === "acked" || (lease.state === "leased" && lease.visibleMs > nowMs)) continue;
      if (!matches(request.filter, message.tag)) {
        lease.state = "acked";
        continue;
      }
      lease.state = "leased";
      lease.attempts++;
      lease.generation++;
      lease.visibleMs = nowMs + request.invisibleMs;
      deliveries.push({
        message: message.bytes,
        receipt: this.#newReceipt(request.group.name, topic, lease),
        queueId: 0,
        offset: message.offset,
        attempt: lease.attempts,
        storeMs: message.storeMs,
        bornHost: message.bornHost,
        lane: message.laneMark,
        mirrorOf: "",
        deadLetter: undefined,
      });
    }
    return deliveries;
  }

  #settle(receipt: string, group: string): { code: Code; message: string; receipt: string } {
    const known = this.#receipts.get(receipt);
    if (known === undefined || known.group !== group) return invalidReceipt;
    const lease = this.#leasesOf(known.topic, group).get(known.offset);
    if (lease === undefined || lease.generation !== known.generation) return invalidReceipt;
    lease.state = "acked";
    return { code: Code.Ok, message: "OK", receipt: "" };
  }

  #newReceipt(group: string, topic: string, lease: Lease): string {
    const receipt = `${this.brokerName}.r${++this.#receiptCount}`;
    this.#receipts.set(receipt, { group, topic, offset: lease.message.offset, generation: lease.generation });
    return receipt;
  }

  #wake(): void {
    for (const parked of [...this.#parked]) {
      const deliveries = this.#take(parked.request);
      if (deliveries.length > 0) this.#unpark(parked, deliveries);
    }
  }

  #unpark(parked: Parked, deliveries: Delivery[]): void {
    if (!this.#parked.delete(parked)) return;
    clearTimeout(parked.timer);
    parked.done({ ok: true, deliveries });
  }

  #logOf(topic: string): Stored[] {
    let log = this.#logs.get(topic);
    if (log === undefined) this.#logs.set(topic, (log = []));
    return log;
  }

  #leasesOf(topic: string, group: string): Map<number, Lease> {
    const key = `${topic} ${group}`;
    let leases = this.#leases.get(key);
    if (leases === undefined) this.#leases.set(key, (leases = new Map()));
    return leases;
  }
}

export function failed(code: Code, message: string, reach: UpstreamFailure["reach"]): UpstreamFailure {
  return { ok: false, code, message, reach };
}

const connectionLost = failed(Code.InternalServerError, "connection lost", "unknown");
const unknownTransaction = failed(Code.InvalidTransactionId, "the transaction is unknown", "refused");
const invalidReceipt = { code: Code.InvalidReceiptHandle, message: "the receipt handle is expired", receipt: "" };

function matches(filter: string, tag: string): boolean {
  const trimmed = filter.trim();
  return trimmed === "" || trimmed === "*" || trimmed.split("||").some((wanted) => wanted.trim() === tag);
}

/** On the scale of `NodeClock`. */
function monotonicMs(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1000 + nanos / 1e6;
}
