import { none } from "./lease-table.ts";
import { mix, SlotIndex } from "./slot-index.ts";

/**
 * The locks of message groups: of each group of messages one message at a time is out at a consumer group, the others wait
 * for it. A row for each message group that is locked, or that left messages behind while it was; none for a group at rest.
 * A group that is stuck costs its row, 82 bytes with the index, whatever lies behind it.
 *
 * What lies behind a lock is not listed. The scan of the queue passes it by, and the row keeps how many messages of the group
 * it has passed and where they begin; when their turn comes they are looked up in the index by the group's hash.
 *
 * A group is known by (subscription, queue id, 32-bit hash). Two groups with one hash in one queue share a lock: they wait
 * for each other, and each keeps its order. With a thousand groups in a queue that happens to one pair in 8 600 queues.
 */
export class GroupLockTable {
  subscription = new Uint32Array(64);
  queueId = new Uint16Array(64);
  groupHash = new Uint32Array(64);
  /** Lease slot of the message that is out, or back and first in turn; `none`: the next one may go out. */
  holder = new Int32Array(64);
  /** Lease slots of the first and last message that was redriven and waits for the lock; the list goes on in the leases. */
  queuedHead = new Int32Array(64);
  queuedTail = new Int32Array(64);
  /** Messages of the group that the scan has passed by. */
  skippedCount = new Uint32Array(64);
  /** They lie at this offset or above. Of no meaning when there are none. */
  skippedFrom = new Float64Array(64);
  /**
   * None of them lies below. At least `skippedFrom`; how far a look-up has come that found nothing yet. A hint of this run, not
   * part of the derived state.
   */
  searchedTo = new Float64Array(64);
  /** Number of the last plan that leaves nothing of the group out or waiting. A hint, as above. */
  freedBy = new Uint32Array(64);
  /** Log position of the entry at `skippedFrom`: orders the groups whose turn it is. */
  position = new Float64Array(64);
  /**
   * Of a group of which none is out: number of the lane that its next message is of, `unplaced` (subscription.ts) where that was not
   * looked up. A hint, as above.
   */
  owner = new Uint16Array(64);
  /** Place in the subscription's heap of groups whose turn it is; `none` when not there. */
  heapAt = new Int32Array(64);

  readonly #byGroup = new SlotIndex();
  readonly #free: number[] = [];
  /** Rows below were used at some time. */
  #end = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** All rows are below; free ones among them, which have subscription `freeRow`. */
  get end(): number {
    return this.#end;
  }

  /** Row of a message group; `none`: no message of it is out or waits behind one. */
  find(subscription: number, queueId: number, groupHash: number): number {
    const hash = rowHash(subscription, queueId, groupHash);
    for (let i = this.#byGroup.first(hash); i >= 0; i = this.#byGroup.next(i, hash)) {
      const row = this.#byGroup.slotAt(i);
      if (
        this.groupHash[row] === groupHash &&
        this.subscription[row] === subscription &&
        this.queueId[row] === queueId
      ) {
        return row;
      }
    }
    return none;
  }

  /** A new row, locked by nobody, with nothing behind it. */
  add(subscription: number, queueId: number, groupHash: number): number {
    const row = this.#free.pop() ?? this.#end++;
    if (row >= this.holder.length) this.#grow();
    this.#count++;
    this.subscription[row] = subscription;
    this.queueId[row] = queueId;
    this.groupHash[row] = groupHash;
    this.holder[row] = none;
    this.queuedHead[row] = none;
    this.queuedTail[row] = none;
    this.skippedCount[row] = 0;
    this.skippedFrom[row] = 0;
    this.searchedTo[row] = 0;
    this.freedBy[row] = 0;
    this.owner[row] = 0;
    this.heapAt[row] = none;
    this.#byGroup.insert(rowHash(subscription, queueId, groupHash), row);
    return row;
  }

  /** The row must be in no heap any more, and no lease may name it. */
  remove(row: number): void {
    this.#byGroup.remove(rowHash(this.subscription[row]!, this.queueId[row]!, this.groupHash[row]!), row);
    this.subscription[row] = freeRow;
    this.#count--;
    this.#free.push(row);
  }

  /** One message more was passed by. Offsets come in order. */
  skip(row: number, offset: number): void {
    if (this.skippedCount[row] === 0) {
      this.skippedFrom[row] = offset;
      this.searchedTo[row] = offset;
    }
    this.skippedCount[row] = this.skippedCount[row]! + 1;
  }

  /** So many of the messages that were passed by are settled, the last of them at `offset`. */
  settle(row: number, offset: number, count: number): void {
    this.skippedCount[row] = this.skippedCount[row]! - count;
    this.skippedFrom[row] = Math.max(this.skippedFrom[row]!, offset + 1);
    this.searchedTo[row] = Math.max(this.searchedTo[row]!, offset + 1);
  }

  #grow(): void {
    const length = this.holder.length * 2;
    this.subscription = copyInto(new Uint32Array(length), this.subscription);
    this.queueId = copyInto(new Uint16Array(length), this.queueId);
    this.groupHash = copyInto(new Uint32Array(length), this.groupHash);
    this.holder = copyInto(new Int32Array(length), this.holder);
    this.queuedHead = copyInto(new Int32Array(length), this.queuedHead);
    this.queuedTail = copyInto(new Int32Array(length), this.queuedTail);
    this.skippedCount = copyInto(new Uint32Array(length), this.skippedCount);
    this.skippedFrom = copyInto(new Float64Array(length), this.skippedFrom);
    this.searchedTo = copyInto(new Float64Array(length), this.searchedTo);
    this.freedBy = copyInto(new Uint32Array(length), this.freedBy);
    this.position = copyInto(new Float64Array(length), this.position);
    this.owner = copyInto(new Uint16Array(length), this.owner);
    this.heapAt = copyInto(new Int32Array(length), this.heapAt);
  }
}

/** Marks a free row: no subscription has this slot. */
export const freeRow = 0xffff_ffff;

function rowHash(subscription: number, queueId: number, groupHash: number): number {
  return mix(Math.imul(subscription, 0x61c88647) ^ queueId, groupHash);
}

function copyInto<T extends Uint32Array | Uint16Array | Int32Array | Float64Array>(to: T, from: T): T {
  to.set(from);
  return to;
}
