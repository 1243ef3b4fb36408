import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Now } from "../broker-port.ts";
import type { Burier } from "../dead-letter/burier.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { DeadLetterReason } from "../record/dead-letter-record.ts";
import { LeaseState } from "./lease-table.ts";
import { judgeFailed } from "./outcome-judge.ts";
import type { Subscription } from "./subscription.ts";

/** Leases ended in one `advance`; more than that (a whole fleet died at once) take several turns. */
const endedLeasesMax = 4_096;

/** Leases whose end has come: their messages are visible again at once, or dead after the last attempt (B6). */
export class LeaseEnds {
  readonly #tables: BrokerTables;
  readonly #burier: Burier;
  readonly #wake: (subscription: Subscription) => void;
  /** There are more ended leases than one `end` takes. */
  #isBehind = false;

  /** `wake`: somebody may be served now. */
  constructor(tables: BrokerTables, burier: Burier, wake: (subscription: Subscription) => void) {
    this.#tables = tables;
    this.#burier = burier;
    this.#wake = wake;
  }

  end(now: Now): void {
    const { leaseTimers } = this.#tables;
    this.#isBehind = false;
    for (let ended = 0; ; ended++) {
      if (ended === endedLeasesMax) {
        this.#isBehind = true;
        return;
      }
      const slot = leaseTimers.takeDue(now.monotonicMs);
      if (slot < 0) return;
      this.#endLease(slot, now);
    }
  }

  /** As of `BrokerPort.nextTimerMs`. */
  nextTimerMs(): number {
    return this.#isBehind ? Number.NEGATIVE_INFINITY : this.#tables.leaseTimers.nextMs();
  }

  #endLease(slot: number, now: Now): void {
    const { leases, subscriptions } = this.#tables;
    const subscription = subscriptions.at(leases.subscription[slot]!)!;
    if (subscription.lanes !== undefined) judgeFailed(this.#tables, slot);
    leases.state[slot] = LeaseState.Ready;
    const owner = subscription.laneAt(leases.owner[slot]!);
    owner.inFlight--;
    owner.ready.push(slot);
    // Also when the message dies: a full group has room again.
    this.#wake(subscription);
    if (!this.#burier.isExhausted(subscription, slot)) return;
    try {
      this.#burier.bury(subscription, slot, DeadLetterReason.AttemptsExhausted, now);
    } catch (error) {
      // A log that takes nothing now: the message waits in the heap, and the next receive buries it instead of taking it.
      if (!(error instanceof MeshError)) throw error;
    }
  }
}
