import type { FilterAgreement } from "../filter/filter-agreement.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { ReadyHeap } from "./ready-heap.ts";

/**
 * How far a group has read a topic in one lane, and what it has in hand there. `Subscription` is the one of the base lane, and the
 * only one where no lane rule names others; those are `SubscriptionLane`s.
 */
export class LaneCursor {
  readonly lane: string;
  /** Number of the lane within its subscription; 0: base. */
  readonly laneNumber: number;
  /** Next offset never looked at, by queue id. In a topic that keeps order all lanes share these. */
  readonly cursors: number[];
  /** Redeliveries. */
  readonly ready: ReadyHeap;
  /** Message groups whose next message is of this lane, and of which none is out now. */
  readonly unlocked: ReadyHeap;
  inFlight = 0;
  /** Its consumers are given nothing: the rule takes the lane back. Never of the base lane. */
  isWithdrawn = false;

  // Hints of this run, not part of the derived state.
  /** Where the next pop begins, so that no queue starves. */
  nextQueue = 0;
  /** Parked receives, first come first served. */
  waitHead = none;
  waitTail = none;
  waitCount = 0;
  /** The filter in force and who uses it; undefined until somebody receives. */
  agreement: FilterAgreement | undefined = undefined;
  /** A scan ended at its budget: it goes on at the next `advance`. */
  isScanning = false;
  /** By queue id: nothing of this lane lies between its position and here. Undefined: not known. */
  seenTo: number[] | undefined = undefined;

  constructor(lane: string, laneNumber: number, cursors: number[], leases: LeaseTable, locks: GroupLockTable) {
    this.lane = lane;
    this.laneNumber = laneNumber;
    this.cursors = cursors;
    this.ready = new ReadyHeap(leases);
    this.unlocked = new ReadyHeap(locks);
  }

  /** Offset from which a scan of a queue has to look. */
  scanFrom(queueId: number): number {
    const cursor = this.cursors[queueId]!;
    return this.seenTo === undefined ? cursor : Math.max(cursor, this.seenTo[queueId] ?? 0);
  }

  /** Rows that a filter did not want are looked at again: another one counts now. */
  takeBack(): void {
    this.ready.takeBack();
    this.unlocked.takeBack();
  }
}
