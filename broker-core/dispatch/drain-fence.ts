import { Code } from "../../proto/code.ts";
import type { Now, Refused } from "../broker-port.ts";
import { none } from "../pop/lease-table.ts";
import type { Topic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { queueOfGroup } from "./queue-choice.ts";

/** What is known of the message groups of one queue: a cache, made again when a position falls behind it. */
interface SeenQueue {
  from: number;
  to: number;
  /** Offset of the youngest message, by hash of the message group. */
  readonly last: Map<number, number>;
}

/**
 * Decides which new messages a broker takes that is drained, or was (decisions/2026-11-26-draining-a-broker.md): none, but for those of
 * message groups that still have messages here which a group is not done with. So a message group goes elsewhere at a moment
 * when nothing of it is left that could be overtaken, and does not come back: what has no messages here gets none.
 */
export class DrainFence {
  readonly #tables: BrokerTables;
  readonly #seen = new Map<number, SeenQueue>();

  constructor(tables: BrokerTables) {
    this.#tables = tables;
  }

  /** Undefined: the message is taken. `groupHash` is 0 for messages that keep no order. */
  refuse(topic: Topic, groupHash: number, now: Now): Refused | undefined {
    const { isDraining, leaveBelow, wallMs, patienceMs } = this.#tables.drain;
    if (groupHash === 0) return isDraining ? moved(topic) : undefined;
    if (!isDraining && topic.id >= leaveBelow) return undefined;
    if (!this.hasBacklog(topic, groupHash)) return moved(topic);
    if (!isDraining || now.wallMs < wallMs + patienceMs) return undefined;
    const message =
      `this broker is being drained, and earlier messages of the message group in topic ${topic.name} are not consumed yet; ` +
      "it goes to another broker when they are: send again in a while, and see that somebody consumes";
    return { ok: false, code: Code.TooManyRequests, message };
  }

  /** Whether any group is not done with a message of a message group. */
  hasBacklog(topic: Topic, groupHash: number): boolean {
    const { locks } = this.#tables;
    const queueId = queueOfGroup(groupHash, topic.groupQueueCount);
    let begin = Number.POSITIVE_INFINITY;
    for (const subscription of topic.subscriptions.values()) {
      if (locks.find(subscription.slot, queueId, groupHash) !== none) return true;
      for (const { cursors } of [subscription, ...(subscription.lanes?.all() ?? [])]) {
        begin = Math.min(begin, cursors[queueId]!);
      }
    }
    // Nobody reads the topic: there is no order to keep.
    if (begin === Number.POSITIVE_INFINITY) return false;
    return this.#lastOf(topic, queueId, begin, groupHash) >= begin;
  }

  /** Offset of the youngest message of a message group from `begin` on, or less. */
  #lastOf(topic: Topic, queueId: number, begin: number, groupHash: number): number {
    const { queues } = this.#tables;
    const queue = topic.queues[queueId]!;
    const key = topic.id * 0x1_0000 + queueId;
    const first = Math.max(begin, queues.beginOffset(queue));
    let seen = this.#seen.get(key);
    if (seen === undefined || first < seen.from || first > seen.to) {
      seen = { from: first, to: first, last: new Map() };
      this.#seen.set(key, seen);
    }
    for (const end = queues.endOffset(queue); seen.to < end; seen.to++) {
      seen.last.set(queues.groupHash(queues.entry(queue, seen.to)), seen.to);
    }
    return seen.last.get(groupHash) ?? -1;
  }
}

function moved(topic: Topic): Refused {
  const message = `this broker is being drained and takes no new messages of topic ${topic.name}; another broker does`;
  return { ok: false, code: Code.TooManyRequests, message, isMoved: true };
}
