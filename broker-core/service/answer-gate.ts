import { giveBody } from "./body-pool.ts";
import type { Connection } from "./connection.ts";
import type { HandedOut } from "./handed-out.ts";

/** An answer that waits. The objects are reused: one belongs to its answer from `hold` to the release. */
export interface HeldAnswer {
  /** Log position of the last record it depends on. */
  position: number;
  connection: Connection | undefined;
  kind: number;
  correlation: number;
  /** Of a send: given back to the connection's window with the answer. */
  requestBytes: number;
  /** Of a send. */
  queueId: number;
  firstOffset: number;
  storeMs: number;
  transactionId: string;
  recallHandles: readonly string[];
  /** Of a send that another broker takes: what is said of it; else "". */
  movedMessage: string;
  /** Of a send that is measured: when it came; else 0. */
  startedMs: number;
  /** Of everything else: the encoded body. */
  body: Uint8Array | undefined;
  /** What `body` is part of, if it is of `takeBody`: goes back there when the answer has left. */
  pooledBody: Buffer | undefined;
  /** Of a receive: what to hand back if the answer cannot leave. */
  handedOut: HandedOut | undefined;
}

/** The part of the log a gate follows: "written" or "durable". */
export interface GateLog {
  /** Everything below has passed. */
  passedPosition(): number;
  /** Calls back once `position` has passed. */
  whenPassed(position: number, action: () => void): void;
}

const capacityInitial = 256;

/**
 * Keeps answers until the log has passed their position, in the order in which they came. One callback of the log serves
 * all that have passed with it, so that a send costs no closure. An answer that depends on an older record than one before
 * it waits for that one: later than needed, by part of one sync, and never too early.
 */
export class AnswerGate {
  readonly #log: GateLog;
  readonly #release: (answer: HeldAnswer) => void;
  readonly #passed: () => void;
  #ring: HeldAnswer[] = Array.from({ length: capacityInitial }, emptyAnswer);
  #head = 0;
  #count = 0;
  #isArmed = false;

  constructor(log: GateLog, release: (answer: HeldAnswer) => void) {
    this.#log = log;
    this.#release = release;
    this.#passed = () => {
      this.#isArmed = false;
      this.#releasePassed();
    };
  }

  /** Answers that wait. */
  get count(): number {
    return this.#count;
  }

  /** Whether an answer that depends on `position` may leave at once: it has passed, and nothing waits before it. */
  mayPass(position: number): boolean {
    return this.#count === 0 && position < this.#log.passedPosition();
  }

  /**
   * A place for an answer that waits for `position`, which `mayPass` refused; the caller fills in the rest before it does
   * anything else.
   */
  hold(position: number, connection: Connection, kind: number, correlation: number): HeldAnswer {
    if (this.#count === this.#ring.length) this.#grow();
    const answer = this.#ring[(this.#head + this.#count) & (this.#ring.length - 1)]!;
    this.#count++;
    answer.position = position;
    answer.connection = connection;
    answer.kind = kind;
    answer.correlation = correlation;
    if (!this.#isArmed) {
      this.#isArmed = true;
      this.#log.whenPassed(position, this.#passed);
    }
    return answer;
  }

  /** Takes everything out, passed or not: the log will never pass it. */
  drain(give: (answer: HeldAnswer) => void): void {
    while (this.#count > 0) this.#take(give);
  }

  #releasePassed(): void {
    // Held answers may be added meanwhile (a hand-back appends records): the position is asked for each.
    while (this.#count > 0) {
      const position = this.#ring[this.#head]!.position;
      if (position >= this.#log.passedPosition()) {
        if (!this.#isArmed) {
          this.#isArmed = true;
          this.#log.whenPassed(position, this.#passed);
        }
        return;
      }
      this.#take(this.#release);
    }
  }

  /** The place stays taken while `give` runs, because `give` may hold further answers. */
  #take(give: (answer: HeldAnswer) => void): void {
    const answer = this.#ring[this.#head]!;
    give(answer);
    answer.connection = undefined;
    answer.body = undefined;
    answer.handedOut = undefined;
    if (answer.pooledBody !== undefined) giveBody(answer.pooledBody);
    answer.pooledBody = undefined;
    answer.startedMs = 0;
    answer.movedMessage = "";
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#count--;
  }

  #grow(): void {
    const ring: HeldAnswer[] = [];
    for (let i = 0; i < this.#count; i++) ring.push(this.#ring[(this.#head + i) & (this.#ring.length - 1)]!);
    while (ring.length < this.#count * 2) ring.push(emptyAnswer());
    this.#ring = ring;
    this.#head = 0;
  }
}

/** Of most sends. */
export const noRecallHandles: readonly string[] = [];

function emptyAnswer(): HeldAnswer {
  return {
    position: 0,
    connection: undefined,
    kind: 0,
    correlation: 0,
    requestBytes: 0,
    queueId: 0,
    firstOffset: 0,
    storeMs: 0,
    transactionId: "",
    recallHandles: noRecallHandles,
    movedMessage: "",
    startedMs: 0,
    body: undefined,
    pooledBody: undefined,
    handedOut: undefined,
  };
}
