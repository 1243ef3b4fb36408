import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Now } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import type { ConsumerGroup } from "./consumer-group.ts";

/** How often it is looked who has been gone for too long. */
const lookMs = 1_000;

/**
 * Drops instances of broadcast groups whose clients have been gone for the time their group allows. A client is there while it waits
 * for messages, and when it receives, acks or prolongs. Who was seen when is a hint of the run: a restart gives everybody the whole
 * time again.
 */
export class GroupExpiry {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  /** Monotonic time at which each instance was seen last, by group id. */
  readonly #seen = new Map<number, number>();
  #nextLookMs = Number.POSITIVE_INFINITY;

  constructor(tables: BrokerTables, journal: Journal) {
    this.#tables = tables;
    this.#journal = journal;
  }

  /** A client has called in the name of this group. */
  saw(groupId: number, { monotonicMs }: Now): void {
    if (this.#tables.groups.byId(groupId)?.policy.broadcast === undefined) return;
    this.#seen.set(groupId, monotonicMs);
    this.#nextLookMs = Math.min(this.#nextLookMs, monotonicMs + lookMs);
  }

  /** After a start: all instances that there are. */
  begin(now: Now): void {
    for (const { id } of this.#tables.groups.all()) this.saw(id, now);
  }

  advance(now: Now): void {
    if (now.monotonicMs < this.#nextLookMs) return;
    const { groups } = this.#tables;
    for (const [groupId, seenMs] of this.#seen) {
      const group = groups.byId(groupId);
      const expiryMs = group?.policy.broadcast?.expiryMs;
      if (group === undefined || expiryMs === undefined) this.#seen.delete(groupId);
      else if (now.monotonicMs - seenMs >= expiryMs) this.#end(group, now);
    }
    this.#nextLookMs = this.#seen.size === 0 ? Number.POSITIVE_INFINITY : now.monotonicMs + lookMs;
  }

  nextTimerMs(): number {
    return this.#nextLookMs;
  }

  /** A log that takes nothing now keeps it until the next look. */
  #end(group: ConsumerGroup, { monotonicMs }: Now): void {
    if (this.#tables.subscriptions.ofGroup(group.id).some(({ isWaitedFor }) => isWaitedFor)) {
      this.#seen.set(group.id, monotonicMs);
      return;
    }
    try {
      this.#journal.groupDropped(group.id);
      this.#seen.delete(group.id);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
    }
  }
}
