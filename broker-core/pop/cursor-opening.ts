import type { Now } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { isDeadLetterTopic, type Topic } from "../topic/topic.ts";
import type { Subscription } from "./subscription.ts";

/** Where a group starts in a topic that it reads for the first time. */
export type GroupStart = "end" | "beginning";

/**
 * A group reads a topic for the first time. It starts at the end, as RocketMQ does: only what comes from now on. What is stored but not
 * yet visible belongs to that. A dead-letter topic is read from its beginning: whoever looks at it wants what is there. And so is one
 * whose position may be lost with a damaged part of the log.
 *
 * Whoever was answered has begun: what is sent from then on is for him. Where he began must survive whatever survives of that, so answers
 * wait until it is on disk (`undurablePosition`); a crash would else have him begin anew, behind what came meanwhile.
 */
export class CursorOpening {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #groupStart: GroupStart;
  /** Positions of the records that are not on disk yet, by the number of the subscription, in the order of the log. A hint of the run. */
  readonly #undurable = new Map<number, number>();

  constructor(tables: BrokerTables, journal: Journal, groupStart: GroupStart) {
    this.#tables = tables;
    this.#journal = journal;
    this.#groupStart = groupStart;
  }

  /** Whether a group that has never read the topic begins with what is there. */
  readsFromBeginning(topic: Topic, groupId: number): boolean {
    const mayHaveRead = groupId < this.#tables.damage.groupsBelow;
    const group = this.#tables.groups.byId(groupId);
    // An instance of a broadcast group gets what comes from its first receive on.
    const isAsSet = group?.policy.broadcast === undefined && this.#groupStart === "beginning";
    return isAsSet || isDeadLetterTopic(topic.name) || mayHaveRead;
  }

  /** Makes the group known to the topic, by a record. */
  open(topic: Topic, groupId: number, now: Now): Subscription {
    const { queues } = this.#tables;
    const group = this.#tables.groups.byId(groupId);
    const fromBeginning = this.readsFromBeginning(topic, groupId);
    const position = this.#journal.cursorOpened({
      groupId,
      topicId: topic.id,
      groupName: group?.name ?? "",
      topicName: topic.name,
      wallMs: now.wallMs,
      offsets: topic.queues.map((queue) => (fromBeginning ? queues.beginOffset(queue) : queues.visibleEnd(queue))),
    });
    const subscription = topic.subscriptions.get(groupId)!;
    // Who begins with what is there begins there again.
    if (!fromBeginning) {
      this.#undurable.delete(subscription.slot);
      this.#undurable.set(subscription.slot, position);
    }
    return subscription;
  }

  /** Position of the record by which this group began to read; -1 once it is on disk. */
  undurablePosition({ slot }: Subscription): number {
    return this.#undurable.size === 0 ? -1 : (this.#undurable.get(slot) ?? -1);
  }

  /** Everything below is on disk. */
  onDurable(durablePosition: number): void {
    for (const [slot, position] of this.#undurable) {
      if (position >= durablePosition) break;
      this.#undurable.delete(slot);
    }
  }
}
