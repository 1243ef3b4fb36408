import { Code } from "../../proto/code.ts";
import type { Now, Refused, SendCall } from "../broker-port.ts";
import { none } from "../pop/lease-table.ts";
import type { Topic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { Journal } from "./journal.ts";
import { queueOfGroup } from "./queue-choice.ts";

/** What is known of the message groups of one queue: a cache, made again when a position falls behind it. */
interface SeenQueue {
  from: number;
  to: number;
  /** Offset of the youngest message, by hash of the message group. */
  readonly last: Map<number, number>;
}

/** Entries that one send looks at: about a millisecond. A queue with a longer backlog is known after several. */
const lookedAtMax = 10_000;
const forgottenMin = 1_000;

/**
 * Decides which new messages a broker takes that is drained, or whose topics have their message groups spread anew
 * (decisions/2026-11-26-draining-a-broker.md, 2026-11-26-spreading-message-groups.md). A message group that still has messages here which
 * a consumer group is not done with stays. So it goes elsewhere at a moment when nothing of it is left that could be overtaken; and what
 * has nothing here is taken only from a sidecar that knows the newest spread, has asked the earlier homes, and by which this is the home.
 */
export class SendFence {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #seen = new Map<number, SeenQueue>();

  constructor(tables: BrokerTables, journal: Journal) {
    this.#tables = tables;
    this.#journal = journal;
  }

  /** Whether `refuse` must be asked about a send. */
  isAround({ topicId, groupSpread = 0 }: SendCall): boolean {
    const { drain, groupSpreads } = this.#tables;
    if (drain.isDraining || topicId < drain.leaveBelow || groupSpread > 0) return true;
    return groupSpreads.size > 0 && groupSpreads.has(topicId);
  }

  /** Undefined: the message is taken. `groupHash` is 0 for messages that keep no order. */
  refuse(topic: Topic, groupHash: number, call: SendCall, now: Now): Refused | undefined {
    const { drain, groupSpreads } = this.#tables;
    const { isDraining, wallMs, patienceMs } = drain;
    if (groupHash === 0) return isDraining ? this.#moved(topic, "is being drained") : undefined;
    const { groupSpread = 0, isEarlierHome = false } = call;
    const known = groupSpreads.get(topic.id) ?? 0;
    // Who knows less is not believed any more, from here on and in every later run.
    if (groupSpread > known) this.#journal.groupSpread({ topicId: topic.id, number: groupSpread });
    const hasLeft = topic.id < drain.leaveBelow && groupSpread <= drain.groupSpread;
    let why: string;
    if (isDraining) why = "is being drained";
    else if (isEarlierHome) why = "has nothing left of the message group";
    else if (hasLeft || groupSpread < known) why = "may not be the message group's home any more";
    // Its home by the newest spread: whatever is left of it is here.
    else return undefined;
    const isLeft = this.#isLeft(topic, groupHash);
    if (isLeft === undefined) {
      const message = `this broker still looks for what is left of message groups in topic ${topic.name}; send again in a moment`;
      return { ok: false, code: Code.TooManyRequests, message };
    }
    if (!isLeft) return this.#moved(topic, why);
    if (!isDraining || now.wallMs < wallMs + patienceMs) return undefined;
    const message =
      `this broker is being drained, and earlier messages of the message group in topic ${topic.name} are not consumed yet; ` +
      "it goes to another broker when they are: send again in a while, and see that somebody consumes";
    return { ok: false, code: Code.TooManyRequests, message };
  }

  /** Whether any consumer group is not done with a message of a message group; undefined: that takes longer than a turn may. */
  #isLeft(topic: Topic, groupHash: number): boolean | undefined {
    const { locks } = this.#tables;
    const queueId = queueOfGroup(groupHash, topic.groupQueueCount);
    let begin = Number.POSITIVE_INFINITY;
    for (const subscription of topic.subscriptions.values()) {
      if (locks.find(subscription.slot, queueId, groupHash) !== none) return true;
      for (const { cursors } of [subscription, ...(subscription.lanes?.all() ?? [])]) {
        begin = Math.min(begin, cursors[queueId]!);
      }
    }
    if (begin === Number.POSITIVE_INFINITY) {
      // Nobody has read the topic yet. Who begins will find all of it, but a broker that is drained would wait for ever.
      if (this.#tables.drain.isDraining) return false;
      begin = 0;
    }
    const seen = this.#look(topic, queueId, begin);
    const last = seen.last.get(groupHash) ?? -1;
    if (last >= begin) return true;
    return seen.to < this.#tables.queues.endOffset(topic.queues[queueId]!) ? undefined : false;
  }

  /** What is known of a queue from `begin` on; a part of it where there is much to look at. */
  #look(topic: Topic, queueId: number, begin: number): SeenQueue {
    const { queues } = this.#tables;
    const queue = topic.queues[queueId]!;
    const key = topic.id * 0x1_0000 + queueId;
    const first = Math.max(begin, queues.beginOffset(queue));
    let seen = this.#seen.get(key);
    // What was consumed is forgotten when it is more than what is left, so that a queue is not remembered whole.
    if (
      seen === undefined ||
      first < seen.from ||
      first > seen.to ||
      first - seen.from > seen.to - first + forgottenMin
    ) {
      seen = { from: first, to: first, last: new Map() };
      this.#seen.set(key, seen);
    }
    const end = Math.min(queues.endOffset(queue), seen.to + lookedAtMax);
    for (; seen.to < end; seen.to++) seen.last.set(queues.groupHash(queues.entry(queue, seen.to)), seen.to);
    return seen;
  }

  /** What it rests on must be on disk before another broker takes the message. */
  #moved(topic: Topic, why: string): Refused {
    const message = `this broker ${why}: another one takes the message in topic ${topic.name}; send again when the sidecar has the newest route`;
    return { ok: false, code: Code.TooManyRequests, message, isMoved: true, position: this.#journal.lastPosition };
  }
}
