import type { MessageFilter } from "../filter/message-filter.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { none } from "./lease-table.ts";
import type { Subscription } from "./subscription.ts";

/** A receive, whether it is answered at once or parked. */
export interface PopRequest {
  ticket: number;
  batch: number;
  invisibleMs: number;
  bytesMax: number;
  filter: MessageFilter;
  clientId: string;
  attemptId: string;
  lane: string;
}

/**
 * Parked receives: a queue per lane of a subscription, threaded through one table, so that serving is first come first served and a
 * cancelled call leaves in constant time.
 */
export class WaiterTable {
  readonly #requests: (PopRequest | undefined)[] = [];
  readonly #subscriptions: (Subscription | undefined)[] = [];
  readonly #lanes: (LaneCursor | undefined)[] = [];
  readonly #next: number[] = [];
  readonly #prev: number[] = [];
  /** Rises with each use of a slot, so that an old handle does not name its new user. */
  readonly #uses: number[] = [];
  readonly #free: number[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Parks a request at the end of its lane's queue and returns its slot. */
  add(subscription: Subscription, lane: LaneCursor, request: PopRequest): number {
    const slot = this.#free.pop() ?? this.#requests.length;
    this.#requests[slot] = request;
    this.#subscriptions[slot] = subscription;
    this.#lanes[slot] = lane;
    this.#uses[slot] = (this.#uses[slot] ?? 0) + 1;
    this.#next[slot] = none;
    this.#prev[slot] = lane.waitTail;
    if (lane.waitTail === none) lane.waitHead = slot;
    else this.#next[lane.waitTail] = slot;
    lane.waitTail = slot;
    lane.waitCount++;
    subscription.topic.waitCount++;
    this.#count++;
    return slot;
  }

  request(slot: number): PopRequest {
    return this.#requests[slot]!;
  }

  /** Of the group that waits. */
  subscription(slot: number): Subscription {
    return this.#subscriptions[slot]!;
  }

  /** The lane in which it waits. */
  lane(slot: number): LaneCursor {
    return this.#lanes[slot]!;
  }

  /** The request that was parked next in the same queue; `none` behind the last. */
  next(slot: number): number {
    return this.#next[slot]!;
  }

  remove(slot: number): void {
    const lane = this.#lanes[slot]!;
    const next = this.#next[slot]!;
    const prev = this.#prev[slot]!;
    if (prev === none) lane.waitHead = next;
    else this.#next[prev] = next;
    if (next === none) lane.waitTail = prev;
    else this.#prev[next] = prev;
    lane.waitCount--;
    this.#subscriptions[slot]!.topic.waitCount--;
    this.#count--;
    this.#requests[slot] = undefined;
    this.#subscriptions[slot] = undefined;
    this.#lanes[slot] = undefined;
    this.#free.push(slot);
  }

  /** The name of a parked request for those outside. */
  handle(slot: number): number {
    return slot + this.#uses[slot]! * slotsMax;
  }

  /** Slot of a handle whose request is still parked; `none` otherwise. */
  slotOf(handle: number): number {
    const slot = handle % slotsMax;
    return this.#requests[slot] !== undefined && this.handle(slot) === handle ? slot : none;
  }
}

const slotsMax = 2 ** 24;
