import { mix, SlotIndex } from "./slot-index.ts";

/** No slot. */
export const none = -1;

export const LeaseState = {
  Free: 0,
  /** Handed out; invisible until its end. */
  InFlight: 1,
  /** Back from a lease, in the ready heap of its subscription. */
  Ready: 2,
  /** In the dead-letter queue. Kept so that late acks get a true answer. */
  Dead: 3,
  /** Redriven, and waiting until its message group is unlocked; in the list of its group's row. */
  Queued: 4,
} as const;
export type LeaseState = (typeof LeaseState)[keyof typeof LeaseState];

/**
 * One row for each message that a group has been handed and has not acked, of all subscriptions: the one authoritative
 * record of an in-flight message. Struct of arrays, 169 bytes a row with both indexes; found by (subscription, queue id, offset) and by the
 * receive attempt it belongs to.
 */
export class LeaseTable {
  state = new Uint8Array(64);
  subscription = new Uint32Array(64);
  queueId = new Uint16Array(64);
  offset = new Float64Array(64);
  /** Log position of the index entry; orders redeliveries. */
  position = new Float64Array(64);
  /** Number of the lease, unique in the log: what a receipt must carry. */
  generation = new Float64Array(64);
  /**
   * Random number of the run that granted the lease. A power cut can take the record of a lease that a client holds a
   * receipt of; the next run grants that number again, and the run tells the two apart.
   */
  run = new Uint32Array(64);
  /** Hand-outs that count. */
  attempt = new Uint16Array(64);
  /** Monotonic end of this boot. */
  endMs = new Float64Array(64);
  /** Planned end by the wall clock, for the case that the machine reboots. */
  endWallMs = new Float64Array(64);
  /** 1: granted in an earlier boot, so `endMs` is an estimate by the wall clock at our start. */
  isOfEarlierBoot = new Uint8Array(64);
  /** 1: a hand-back or suspension has taken the count of this hand-out back already; it is taken once. */
  isUncounted = new Uint8Array(64);
  /**
   * How often this lease was given out again to the attempt that got it, up to 255. Each of these answers may be handed back
   * by a sidecar that could not deliver it, while another one was delivered. A hint of this run, no derived state.
   */
  copies = new Uint8Array(64);
  /** Monotonic time of the last hand-out; 0: not known. A hint of this run, as the next one: for figures only (lane-outcomes.ts). */
  handedOutMs = new Float64Array(64);
  /** 1: whether the hand-out succeeded is told already, or nobody is to be told. */
  isJudged = new Uint8Array(64);
  invisibleMs = new Uint32Array(64);
  /** Wall time of the first hand-out. */
  firstPopMs = new Float64Array(64);
  /** Number in the table of client ids. */
  holder = new Uint32Array(64);
  /** Number in the table of lanes. */
  lane = new Uint32Array(64);
  /** Number of the lane, within its subscription, that the message is of. */
  owner = new Uint16Array(64);
  /** Place in the subscription's ready heap; `none` when not there. */
  heapAt = new Int32Array(64);
  /** Row of the message group that this message locks (group-locks.ts); `none`: it locks none. */
  lock = new Int32Array(64);
  /** Of a queued one, the next that waits for the same group; `none` at the end. */
  nextQueued = new Int32Array(64);
  attemptKey = new Float64Array(64);
  #attemptNext = new Int32Array(64);
  #attemptPrev = new Int32Array(64);

  readonly #byMessage = new SlotIndex();
  readonly #byAttempt = new SlotIndex();
  readonly #free: number[] = [];
  /** Slots below were used at some time. */
  #end = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** All slots are below; free ones among them. */
  get end(): number {
    return this.#end;
  }

  /** Slot of a message's lease; `none` when the group has not been handed it or is done with it. */
  find(subscription: number, queueId: number, offset: number): number {
    const hash = messageHash(subscription, queueId, offset);
    for (let i = this.#byMessage.first(hash); i >= 0; i = this.#byMessage.next(i, hash)) {
      const slot = this.#byMessage.slotAt(i);
      if (this.offset[slot] === offset && this.subscription[slot] === subscription && this.queueId[slot] === queueId) {
        return slot;
      }
    }
    return none;
  }

  /** A new row; every other column is the caller's to fill. */
  add(subscription: number, queueId: number, offset: number): number {
    const slot = this.#free.pop() ?? this.#end++;
    if (slot >= this.state.length) this.#grow();
    this.#count++;
    this.subscription[slot] = subscription;
    this.queueId[slot] = queueId;
    this.offset[slot] = offset;
    this.state[slot] = LeaseState.InFlight;
    this.heapAt[slot] = none;
    this.owner[slot] = 0;
    this.lock[slot] = none;
    this.nextQueued[slot] = none;
    this.handedOutMs[slot] = 0;
    this.isJudged[slot] = 0;
    this.attemptKey[slot] = 0;
    this.#attemptNext[slot] = none;
    this.#attemptPrev[slot] = none;
    this.#byMessage.insert(messageHash(subscription, queueId, offset), slot);
    return slot;
  }

  /** Another hand-out begins: nothing was made of it yet. */
  handedOut(slot: number, monotonicMs: number): void {
    this.isUncounted[slot] = 0;
    this.copies[slot] = 0;
    this.handedOutMs[slot] = monotonicMs;
    this.isJudged[slot] = 0;
  }

  /** No hand-out of the message counts, and nothing is left of its last lease: neither an end nor a boot that it is of. */
  clearLease(slot: number): void {
    this.isUncounted[slot] = 0;
    this.firstPopMs[slot] = 0;
    this.endMs[slot] = 0;
    this.endWallMs[slot] = 0;
    this.invisibleMs[slot] = 0;
    this.isOfEarlierBoot[slot] = 0;
  }

  /** The row must be in no heap and at no timer any more. */
  remove(slot: number): void {
    this.unlinkAttempt(slot);
    this.#byMessage.remove(messageHash(this.subscription[slot]!, this.queueId[slot]!, this.offset[slot]!), slot);
    this.state[slot] = LeaseState.Free;
    this.#count--;
    this.#free.push(slot);
  }

  /** First of the leases that one receive attempt was given; `none` when there are none. Go on with `nextOfAttempt`. */
  firstOfAttempt(key: number): number {
    const hash = keyHash(key);
    for (let i = this.#byAttempt.first(hash); i >= 0; i = this.#byAttempt.next(i, hash)) {
      const slot = this.#byAttempt.slotAt(i);
      if (this.attemptKey[slot] === key) return slot;
    }
    return none;
  }

  nextOfAttempt(slot: number): number {
    return this.#attemptNext[slot]!;
  }

  linkAttempt(slot: number, key: number): void {
    this.unlinkAttempt(slot);
    if (key === 0) return;
    const head = this.firstOfAttempt(key);
    this.attemptKey[slot] = key;
    if (head === none) {
      this.#byAttempt.insert(keyHash(key), slot);
      return;
    }
    const second = this.#attemptNext[head]!;
    this.#attemptNext[head] = slot;
    this.#attemptPrev[slot] = head;
    this.#attemptNext[slot] = second;
    if (second !== none) this.#attemptPrev[second] = slot;
  }

  /** The lease is no longer what the attempt was given: it got a new generation, or the group is done with the message. */
  unlinkAttempt(slot: number): void {
    const key = this.attemptKey[slot]!;
    if (key === 0) return;
    const next = this.#attemptNext[slot]!;
    const prev = this.#attemptPrev[slot]!;
    if (prev !== none) this.#attemptNext[prev] = next;
    else if (next !== none) this.#byAttempt.replace(keyHash(key), slot, next);
    else this.#byAttempt.remove(keyHash(key), slot);
    if (next !== none) this.#attemptPrev[next] = prev;
    this.attemptKey[slot] = 0;
    this.#attemptNext[slot] = none;
    this.#attemptPrev[slot] = none;
  }

  #grow(): void {
    const length = this.state.length * 2;
    this.state = copyInto(new Uint8Array(length), this.state);
    this.subscription = copyInto(new Uint32Array(length), this.subscription);
    this.queueId = copyInto(new Uint16Array(length), this.queueId);
    this.offset = copyInto(new Float64Array(length), this.offset);
    this.position = copyInto(new Float64Array(length), this.position);
    this.generation = copyInto(new Float64Array(length), this.generation);
    this.run = copyInto(new Uint32Array(length), this.run);
    this.attempt = copyInto(new Uint16Array(length), this.attempt);
    this.endMs = copyInto(new Float64Array(length), this.endMs);
    this.endWallMs = copyInto(new Float64Array(length), this.endWallMs);
    this.isOfEarlierBoot = copyInto(new Uint8Array(length), this.isOfEarlierBoot);
    this.isUncounted = copyInto(new Uint8Array(length), this.isUncounted);
    this.copies = copyInto(new Uint8Array(length), this.copies);
    this.handedOutMs = copyInto(new Float64Array(length), this.handedOutMs);
    this.isJudged = copyInto(new Uint8Array(length), this.isJudged);
    this.invisibleMs = copyInto(new Uint32Array(length), this.invisibleMs);
    this.firstPopMs = copyInto(new Float64Array(length), this.firstPopMs);
    this.holder = copyInto(new Uint32Array(length), this.holder);
    this.lane = copyInto(new Uint32Array(length), this.lane);
    this.owner = copyInto(new Uint16Array(length), this.owner);
    this.heapAt = copyInto(new Int32Array(length), this.heapAt);
    this.lock = copyInto(new Int32Array(length), this.lock);
    this.nextQueued = copyInto(new Int32Array(length), this.nextQueued);
    this.attemptKey = copyInto(new Float64Array(length), this.attemptKey);
    this.#attemptNext = copyInto(new Int32Array(length), this.#attemptNext);
    this.#attemptPrev = copyInto(new Int32Array(length), this.#attemptPrev);
  }
}

function messageHash(subscription: number, queueId: number, offset: number): number {
  return mix(Math.imul(subscription, 0x61c88647) ^ queueId, (offset % 0x1_0000_0000) ^ (offset / 0x1_0000_0000));
}

function keyHash(key: number): number {
  return (key % 0x1_0000_0000) >>> 0;
}

function copyInto<T extends { set(from: T): void }>(into: T, from: T): T {
  into.set(from);
  return into;
}
