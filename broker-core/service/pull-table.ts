import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { BrokerPort, PullCall, Pulled } from "../broker-port.ts";
import { type ColdLane, type ColdRead, coldBytesMax } from "./cold-lane.ts";
import type { Connection } from "./connection.ts";

/** Pulls that wait, of all connections; more are answered at once. Each costs a look after every sync. */
const parkedMax = 4_096;

interface ParkedPull {
  readonly connection: Connection;
  readonly correlation: number;
  call: PullCall;
  timeout: Timer | undefined;
}

/**
 * Pulls that found nothing and wait. They are looked at again when messages became visible, and when a scan has more to look
 * through. No lease is at stake: a pull whose connection breaks is simply gone.
 */
export class PullTable {
  readonly #port: BrokerPort;
  readonly #clock: Clock;
  readonly #coldLane: ColdLane;
  readonly #parked = new Set<ParkedPull>();

  constructor(port: BrokerPort, clock: Clock, coldLane: ColdLane) {
    this.#port = port;
    this.#clock = clock;
    this.#coldLane = coldLane;
  }

  get count(): number {
    return this.#parked.size;
  }

  serve(connection: Connection, correlation: number, call: PullCall, waitMs: number): void {
    const port = this.#port;
    const cold: ColdRead = {
      batch: Math.max(1, call.batch),
      get isGone() {
        return connection.isClosed;
      },
      places: (into) => port.pullPlaces(call, into),
      run: () => {
        const bytesMax = Math.min(call.bytesMax || coldBytesMax, coldBytesMax);
        this.#serve(connection, correlation, { ...call, bytesMax }, waitMs);
      },
    };
    if (!this.#coldLane.takes(cold)) this.#serve(connection, correlation, call, waitMs);
  }

  #serve(connection: Connection, correlation: number, call: PullCall, waitMs: number): void {
    const pull: ParkedPull = { connection, correlation, call, timeout: undefined };
    const pulled = this.#look(pull);
    if (pulled === undefined) return;
    if (waitMs <= 0 || this.#parked.size >= parkedMax) {
      this.#answer(pull, pulled);
      return;
    }
    pull.timeout = this.#clock.after(waitMs, () => this.#answer(pull, this.#port.pull(pull.call)));
    this.#parked.add(pull);
    if (!pulled.isAtEnd) this.#goOn(pull);
  }

  /** Messages became visible. */
  wake(): void {
    for (const pull of this.#parked) this.#look(pull);
  }

  /** Answers everything now: the broker drains. */
  endAll(): void {
    for (const pull of [...this.#parked]) this.#answer(pull, this.#port.pull(pull.call));
  }

  /** Answers when there is something to say; otherwise the outcome, with the pull moved on behind what it has seen. */
  #look(pull: ParkedPull): (Pulled & { ok: true }) | undefined {
    const pulled = this.#port.pull(pull.call);
    if (!pulled.ok || pulled.messages.length > 0 || pull.connection.isClosed) {
      this.#answer(pull, pulled);
      return undefined;
    }
    pull.call = { ...pull.call, offset: pulled.nextOffset };
    return pulled;
  }

  /** A scan ended at its budget: the rest in the next turns. */
  #goOn(pull: ParkedPull): void {
    const run = (): void => {
      if (!this.#parked.has(pull)) return;
      const pulled = this.#look(pull);
      if (pulled !== undefined && !pulled.isAtEnd) this.#goOn(pull);
    };
    const parked = this.#parked;
    const cold: ColdRead = {
      batch: Math.max(1, pull.call.batch),
      get isGone() {
        return !parked.has(pull);
      },
      places: (into) => this.#port.pullPlaces(pull.call, into),
      run,
    };
    if (!this.#coldLane.takes(cold)) this.#clock.atTurnEnd(run);
  }

  #answer(pull: ParkedPull, pulled: Pulled): void {
    const { connection, correlation } = pull;
    pull.timeout?.cancel();
    this.#parked.delete(pull);
    if (connection.isClosed) return;
    if (!pulled.ok) {
      connection.answerFailure(FrameKind.Pull, correlation, pulled.code, pulled.message);
      return;
    }
    const delivery = pulled.messages.map(({ bytes, laneMark, deadLetter, ...message }) => ({
      ...message,
      message: bytes,
      lane: laneMark,
      ...(deadLetter === undefined ? {} : { deadLetter }),
    }));
    const body = popmesh.v1.PullAnswer.encode({ delivery, nextOffset: pulled.nextOffset }).finish();
    connection.answer(FrameKind.Pull, Code.Ok, correlation, body);
  }
}
