import { readFileSync } from "node:fs";
import { cpuMicros, residentMiB } from "../../support/process-usage.ts";
import type { Server, Session, Workload, WriteCounters } from "./contender.ts";

/**
 * One slice of load: producers keep their sends in flight, consumers acknowledge, and a message counts when its
 * acknowledgement is confirmed. Producers wait while `backlogMax` messages are not acknowledged, so that the rate is one that
 * the system can hold, not one that fills its queues.
 */
export interface LoadSlice {
  readonly warmUpMs: number;
  readonly measuredMs: number;
  /** Messages sent and not acknowledged, over all producers. */
  readonly backlogMax: number;
}

export interface LoadFigures {
  /** Messages sent, received and acknowledged with confirmation, per second. */
  readonly perSecond: number;
  /** From the call of send to its confirmation. */
  readonly sendMs: Quantiles;
  /** From the call of send to the confirmed acknowledgement. */
  readonly wholeMs: Quantiles;
  /** CPU of the server, microseconds per message. */
  readonly serverMicros: number;
  /** CPU of this process, which runs the clients, microseconds per message. */
  readonly clientMicros: number;
  /**
   * What the kernel accounts to the server as written, per message. It counts whole folios when they become dirty, on new
   * kernels up to 2 MiB for one byte: an upper bound, far above what reaches the disk where a system writes into a file it
   * has filled before.
   */
  readonly kernelBytes: number;
  /** What the server itself counts, per message; undefined where it does not. */
  readonly written: WriteCounters | undefined;
  readonly residentMiB: number;
  /** Acknowledgements over the slice of what was acknowledged before, in this slice or an earlier one. */
  readonly repeated: number;
  /** Sends over the slice that were refused for now and sent again; the wait is part of their times. */
  readonly refused: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** A slice goes on until it has measured so many, or a slow moment of the machine would leave it without a figure. */
const messagesMin = 100;
/** A system that does not finish what it has accepted. */
const drainMsMax = 60_000;
const lookMs = 5;

export async function runSlice(server: Server, workload: Workload, slice: LoadSlice): Promise<LoadFigures> {
  const load = new ClosedLoad(workload, slice);
  if (slice.measuredMs <= 0) throw new RangeError("a slice measures for longer than 0 ms");
  const session = await server.open(workload, load);
  try {
    load.begin(session);
    await load.lasts(slice.warmUpMs);
    const before = await usage(server);
    load.measures = true;
    await load.lasts(slice.measuredMs);
    await load.hasCounted(messagesMin);
    load.measures = false;
    const after = await usage(server);
    await load.drained();
    const seconds = (after.atMs - before.atMs) / 1000;
    const messages = load.wholeMs.count;
    return {
      perSecond: messages / seconds,
      sendMs: load.sendMs.quantiles(),
      wholeMs: load.wholeMs.quantiles(),
      serverMicros: (after.serverMicros - before.serverMicros) / messages,
      clientMicros: (after.clientMicros - before.clientMicros) / messages,
      kernelBytes: (after.kernelBytes - before.kernelBytes) / messages,
      written: perMessage(before.counters, after.counters, messages),
      residentMiB: server.processes.reduce((sum, pid) => sum + residentMiB(pid), 0),
      repeated: load.repeated,
      refused: load.sentAgain,
    };
  } finally {
    await session.stop();
  }
}

async function usage(server: Server) {
  const counters = await server.counters?.();
  const { user, system } = process.cpuUsage();
  return {
    counters,
    serverMicros: server.processes.reduce((sum, pid) => sum + cpuMicros(pid), 0),
    clientMicros: user + system,
    kernelBytes: server.processes.reduce((sum, pid) => sum + writtenBytes(pid), 0),
    atMs: performance.now(),
  };
}

function perMessage(
  before: WriteCounters | undefined,
  after: WriteCounters | undefined,
  messages: number,
): WriteCounters | undefined {
  if (before === undefined || after === undefined) return undefined;
  const difference = (of: keyof WriteCounters) => (after[of] - before[of]) / messages;
  return {
    logBytes: difference("logBytes"),
    allBytes: difference("allBytes"),
    batches: difference("batches"),
    syncs: difference("syncs"),
    syncSeconds: difference("syncSeconds"),
  };
}

function writtenBytes(pid: number): number {
  return Number(/write_bytes: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}

/** Numbers go on from slice to slice: a message that comes late, after its slice, is not taken for one of the next. */
let nextNumber = 0;

class ClosedLoad {
  readonly sendMs = new Recorder();
  readonly wholeMs = new Recorder();
  repeated = 0;
  sentAgain = 0;
  measures = false;

  readonly #workload: Workload;
  readonly #slice: LoadSlice;
  #session: Session | undefined;
  readonly #first = nextNumber;
  /** When message `#first + i` was sent; -1 once it is acknowledged. */
  #startedMs = new Float64Array(1 << 16);
  #sent = 0;
  #unacked = 0;
  readonly #open: number[];
  #nextProducer = 0;
  #isOver = false;
  #failure: Error | undefined;
  #fail: (error: Error) => void = () => {};

  constructor(workload: Workload, slice: LoadSlice) {
    this.#workload = workload;
    this.#slice = slice;
    this.#open = new Array<number>(workload.producers).fill(0);
  }

  begin(session: Session): void {
    this.#session = session;
    for (let producer = 0; producer < this.#workload.producers; producer++) this.#fill(producer);
  }

  lasts(ms: number): Promise<void> {
    return this.#orFails((resolve) => void setTimeout(resolve, ms));
  }

  /** Resolves when so many messages were measured. */
  hasCounted(messages: number): Promise<void> {
    return this.#within(
      () => this.wholeMs.count >= messages,
      () => `only ${this.wholeMs.count} messages in ${drainMsMax} ms`,
    );
  }

  /** Ends sending; resolves when all that was sent is confirmed and acknowledged. */
  drained(): Promise<void> {
    this.#isOver = true;
    return this.#within(
      () => this.#unacked === 0 && this.#open.every((count) => count === 0),
      () => {
        const open = this.#open.reduce((sum, count) => sum + count, 0);
        const what = `${this.#unacked} of ${this.#sent} messages not acknowledged, ${open} sends not confirmed`;
        return `${what}, ${drainMsMax} ms after the last send`;
      },
    );
  }

  acked(number: number): void {
    const index = number - this.#first;
    if (!(index < this.#sent)) {
      this.failed(new Error(`${this.#workload.name}: message ${number} was never sent`));
      return;
    }
    const startedMs = index < 0 ? -1 : this.#startedMs[index]!;
    if (startedMs < 0) {
      this.repeated++;
      return;
    }
    if (this.measures) this.wholeMs.add(performance.now() - startedMs);
    this.#startedMs[index] = -1;
    this.#unacked--;
    if (!this.#isOver) this.#fillNext();
  }

  refused(): void {
    this.sentAgain++;
  }

  failed(error: Error): void {
    this.#failure ??= error;
    this.#fail(this.#failure);
  }

  #fill(producer: number): void {
    while (!this.#isOver && this.#open[producer]! < this.#workload.inFlight && this.#unacked < this.#slice.backlogMax) {
      this.#send(producer);
    }
  }

  /** There is room for one more message: the next producer in turn that has a send free takes it. */
  #fillNext(): void {
    const { producers, inFlight } = this.#workload;
    for (let i = 0; i < producers && this.#unacked < this.#slice.backlogMax; i++) {
      const producer = this.#nextProducer;
      this.#nextProducer = (producer + 1) % producers;
      if (this.#open[producer]! < inFlight) this.#send(producer);
    }
  }

  #send(producer: number): void {
    const index = this.#sent++;
    const number = nextNumber++;
    if (index === this.#startedMs.length) {
      const grown = new Float64Array(index * 2);
      grown.set(this.#startedMs);
      this.#startedMs = grown;
    }
    const startedMs = performance.now();
    this.#startedMs[index] = startedMs;
    this.#open[producer]!++;
    this.#unacked++;
    this.#session!.send(producer, number, (error) => {
      if (error !== undefined) {
        this.failed(error);
        return;
      }
      if (this.measures) this.sendMs.add(performance.now() - startedMs);
      this.#open[producer]!--;
      if (!this.#isOver) this.#fill(producer);
    });
  }

  /** Resolves when `condition` holds; looked at often enough for a measurement of seconds, and never per message. */
  async #within(condition: () => boolean, complaint: () => string): Promise<void> {
    const endMs = performance.now() + drainMsMax;
    while (!condition()) {
      if (performance.now() > endMs) this.failed(new Error(`${this.#workload.name}: ${complaint()}`));
      await this.lasts(lookMs);
    }
  }

  #orFails(begin: (resolve: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      else begin(resolve);
    });
  }
}

/** Durations in milliseconds, all of them. */
class Recorder {
  #values = new Float64Array(1 << 14);
  count = 0;

  add(ms: number): void {
    if (this.count === this.#values.length) {
      const grown = new Float64Array(this.count * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.count++] = ms;
  }

  quantiles(): Quantiles {
    const sorted = this.#values.slice(0, this.count).sort();
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
  }
}
