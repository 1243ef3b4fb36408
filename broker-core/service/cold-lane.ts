import type { Clock } from "../../proto/runtime/clock.ts";
import { LogPlaces } from "../commit-log/log-places.ts";

/** What reads ahead (broker-core/commit-log/read-ahead.ts). */
export interface PlaceReader {
  isCold(position: number): boolean;
  isAtHand(places: LogPlaces): boolean;
  fetch(places: LogPlaces, done: () => void): void;
}

/** A receive or pull of old messages that waits for its turn. */
export interface ColdRead {
  /** Nobody waits for the answer any more. */
  readonly isGone: boolean;
  /** Messages it may bring. */
  readonly batch: number;
  /** Where it would look now. */
  places(into: LogPlaces): void;
  /** Does it. */
  run(): void;
}

/** Messages that cold reads bring in one turn of the event loop: about 0.3 ms, and then others come first. */
const messagesPerTurn = 32;
/** A turn that has taken so long ends with the read at hand: large messages and filters take longer. */
const turnMsMax = 0.25;
/** Bytes of messages that one read brings: copying more takes longer than a turn should. One message may have more. */
export const coldBytesMax = 256 * 1024;
/** Each occupies a thread of the system's four; the log's sync and the next segment's need theirs. */
const fetchesMax = 2;

/**
 * Where reads of old messages wait, so that a group that reads its backlog as fast as it can holds up nobody who sends: what they
 * need is read from the disk off the event loop first, then some are served per turn, in the order in which they came. To the state
 * machine they have simply come later.
 */
export class ColdLane {
  readonly #reader: PlaceReader;
  readonly #clock: Clock;
  readonly #places: LogPlaces;
  #queue: ColdRead[] = [];
  #head = 0;
  /** Their bytes have come: they go first, before those are given up for others. */
  #fetched: ColdRead[] = [];
  #fetching = 0;
  #isArmed = false;
  readonly #turnTook: (ms: number) => void;

  /** `turnTook` is told how long each turn with reads took. */
  constructor(reader: PlaceReader, clock: Clock, turnTook: (ms: number) => void = () => {}) {
    this.#reader = reader;
    this.#clock = clock;
    this.#turnTook = turnTook;
    this.#places = new LogPlaces((position) => reader.isCold(position));
  }

  /** Reads that wait. */
  get count(): number {
    return this.#queue.length - this.#head + this.#fetched.length + this.#fetching;
  }

  /** Takes a read that is cold; false: it is not, and the caller does it now. */
  takes(read: ColdRead): boolean {
    this.#places.clear();
    read.places(this.#places);
    if (!this.#places.areCold) return false;
    this.#queue.push(read);
    this.#arm();
    return true;
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#clock.atTurnEnd(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isArmed = false;
    const startedMs = this.#clock.monotonicMs();
    let left = messagesPerTurn;
    let tookMs = 0;
    while (left > 0 && tookMs < turnMsMax) {
      const read = this.#next();
      if (read === undefined) break;
      left -= read.batch;
      read.run();
      tookMs = this.#clock.monotonicMs() - startedMs;
    }
    if (left === messagesPerTurn) return;
    this.#turnTook(tookMs);
    this.#arm();
  };

  /** The next read whose bytes are at hand; those that are not are fetched on the way. Undefined: none for now. */
  #next(): ColdRead | undefined {
    for (;;) {
      const fetched = this.#fetched.shift();
      if (fetched !== undefined && !fetched.isGone) return fetched;
      if (fetched !== undefined) continue;
      const read = this.#queue[this.#head];
      if (read === undefined) return undefined;
      if (!read.isGone && !this.#isAtHand(read)) {
        // A fetch that ends goes on here.
        if (this.#fetching === fetchesMax) return undefined;
        this.#takeFirst();
        this.#fetch(read);
        continue;
      }
      this.#takeFirst();
      if (!read.isGone) return read;
    }
  }

  #isAtHand(read: ColdRead): boolean {
    this.#places.clear();
    read.places(this.#places);
    return this.#reader.isAtHand(this.#places);
  }

  #fetch(read: ColdRead): void {
    this.#fetching++;
    this.#reader.fetch(this.#places, () => {
      this.#fetching--;
      this.#fetched.push(read);
      this.#arm();
    });
  }

  #takeFirst(): void {
    this.#head++;
    if (this.#head < 64 || this.#head * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}

/** Where there is nothing to read ahead from: the log is in memory. */
export const nothingIsCold: PlaceReader = {
  isCold: () => false,
  isAtHand: () => true,
  fetch: (_places, done) => done(),
};
