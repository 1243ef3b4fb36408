import type { BrokerConnection } from "./broker-connection.ts";

/** Where a call is. */
export const CallState = {
  Free: 0,
  /** Just begun. */
  New: 1,
  /** For a connection, an opened name or a window; no byte of it was written. */
  Waiting: 2,
  /** Its frame was given to the writer of its connection. */
  Sent: 3,
  /** The caller has its answer (deadline, given up), the broker has not answered yet: the credit is still out. */
  Abandoned: 4,
} as const;
export type CallState = (typeof CallState)[keyof typeof CallState];

/** Bits of a correlation id that name the slot; the others are its generation, so that no late answer hits a reused slot. */
const slotBits = 20;
const slotMask = (1 << slotBits) - 1;
const generationMask = (1 << (32 - slotBits)) - 1;
/** Calls of one upstream at the same time. */
export const callsMax = 131_072;
const capacityInitial = 256;

/**
 * The calls of one upstream, as columns: a slot per call, its place in the correlation id. A slot is taken from the call to
 * the broker's answer (or the loss of the connection), even if its caller was answered before.
 */
export class CallTable {
  readonly states: CallState[] = [];
  readonly kinds: number[] = [];
  readonly deadlinesMs: number[] = [];
  /** What the caller asked; of a send that is on its way, its topic alone. */
  readonly requests: unknown[] = [];
  readonly dones: unknown[] = [];
  readonly connections: (BrokerConnection | undefined)[] = [];
  /** Position of its frame in the writer of its connection. */
  readonly positions: number[] = [];
  /** Of a send: what it is charged. */
  readonly requestBytes: number[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  readonly #onGrow: (capacity: number) => void;
  #capacity = 0;
  #count = 0;

  /** `onGrow` is told when there may be slots up to a new capacity. */
  constructor(onGrow: (capacity: number) => void) {
    this.#onGrow = onGrow;
    this.#grow(capacityInitial);
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Slots in use. */
  get count(): number {
    return this.#count;
  }

  /** Takes a slot; -1 when there are `callsMax` calls already. */
  open(kind: number, request: unknown, deadlineMs: number, done: unknown): number {
    if (this.#free.length === 0) {
      if (this.#capacity >= callsMax) return -1;
      this.#grow(this.#capacity * 2);
    }
    const slot = this.#free.pop()!;
    this.#count++;
    this.states[slot] = CallState.New;
    this.kinds[slot] = kind;
    this.requests[slot] = request;
    this.deadlinesMs[slot] = deadlineMs;
    this.dones[slot] = done;
    return slot;
  }

  close(slot: number): void {
    this.#count--;
    this.states[slot] = CallState.Free;
    this.requests[slot] = undefined;
    this.dones[slot] = undefined;
    this.connections[slot] = undefined;
    this.requestBytes[slot] = 0;
    // Never 0: a correlation id of 0 means that nothing is answered.
    this.#generations[slot] = (this.#generations[slot]! % generationMask) + 1;
    this.#free.push(slot);
  }

  /** The correlation id of the call in `slot`; also names this one call among all that ever had the slot (nearly). */
  correlation(slot: number): number {
    return ((this.#generations[slot]! << slotBits) | slot) >>> 0;
  }

  /** The slot a correlation id names, or -1 when that call is over. */
  slotOf(correlation: number): number {
    const slot = correlation & slotMask;
    return slot < this.#capacity && this.states[slot] !== CallState.Free && this.correlation(slot) === correlation
      ? slot
      : -1;
  }

  /** Slots in use as of now: what is done with them may open and close others. */
  slotsWhere(holds: (slot: number) => boolean): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#capacity; slot++) {
      if (this.states[slot] !== CallState.Free && holds(slot)) slots.push(slot);
    }
    return slots;
  }

  #grow(capacity: number): void {
    for (let slot = capacity - 1; slot >= this.#capacity; slot--) this.#free.push(slot);
    for (let slot = this.#capacity; slot < capacity; slot++) {
      this.states.push(CallState.Free);
      this.kinds.push(0);
      this.deadlinesMs.push(0.5);
      this.requests.push(undefined);
      this.dones.push(undefined);
      this.connections.push(undefined);
      this.positions.push(0);
      this.requestBytes.push(0);
      this.#generations.push(1);
    }
    this.#capacity = capacity;
    this.#onGrow(capacity);
  }
}
