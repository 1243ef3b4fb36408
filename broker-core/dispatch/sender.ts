import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import type { MirrorShare } from "../../proto/lane/mirror-share.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Now, Refused, SendCall, Sent } from "../broker-port.ts";
import { isLiteParent, isLiteTopicName, liteChildTypes, liteTopicName } from "../lite/lite-name.ts";
import { type MessageFacts, SendPart } from "../record/message-record.ts";
import type { TimedMessages } from "../timed/timed-messages.ts";
import type { Opener } from "../topic/opener.ts";
import { isPriorityTopic, type Topic } from "../topic/topic.ts";
import type { TopicView } from "../topic/topic-view.ts";
import type { TransactionCoordinator } from "../transaction/transaction-coordinator.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { Journal } from "./journal.ts";
import { factBytesMax, messageFactsBlank, readMessageFacts } from "./message-facts.ts";
import { queueOfCopy, shadowOf } from "./mirror-choice.ts";
import { nextQueueOf, queueOfGroup, queueOfPriority } from "./queue-choice.ts";
import { SendFence } from "./send-fence.ts";

/** Body limit of the local API (4 MiB) with room for properties. */
export const messageBytesMax = 5 * 1024 * 1024;

/** MessageType of apache.rocketmq.v2. */
const MessageType = { Normal: 1, Fifo: 2, Delay: 3, Transaction: 4, Lite: 5, Priority: 6 } as const;
const typeNames = ["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "LITE", "PRIORITY"];

/** Stores messages: checks all of a call before it appends the first. */
export class Sender {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #opener: Opener;
  readonly #timed: TimedMessages;
  readonly #transactions: TransactionCoordinator;
  readonly #fence: SendFence;
  readonly #scan = new MessageScan();
  /** Of the messages of the call at hand. */
  readonly #facts: MessageFacts[] = [];
  readonly #bodies: Buffer[] = [];
  readonly #liteTopics: string[] = [];
  /** Of the send at hand: where its copies go, and how many there are. */
  #mirrorQueueId = 0;
  #mirrorCount = 0;

  constructor(
    tables: BrokerTables,
    journal: Journal,
    opener: Opener,
    timed: TimedMessages,
    transactions: TransactionCoordinator,
  ) {
    this.#tables = tables;
    this.#journal = journal;
    this.#opener = opener;
    this.#timed = timed;
    this.#transactions = transactions;
    this.#fence = new SendFence(tables, journal);
  }

  send(call: SendCall, now: Now): Sent {
    const topic = this.#tables.topics.lend(call.topicId);
    if (topic === undefined) return refused(Code.TopicNotFound, `topic ${call.topicId} is not open; open it again`);
    if (!this.#journal.takesMessages) return this.#journal.refusal();
    if (call.messages.length === 0) return refused(Code.MessageCorrupted, "no message to send");
    let isAhead = false;
    for (let i = 0; i < call.messages.length; i++) {
      const failure = this.#check(topic, call.messages[i]!, i, now);
      if (failure !== undefined) return failure;
      if (this.#facts[i]!.messageType === MessageType.Transaction && call.messages.length > 1) {
        return refused(Code.BadRequest, "a half message is sent by itself: one message, one transaction");
      }
      isAhead ||= this.#timed.isAhead(this.#facts[i]!, now);
    }
    const isHalf = this.#facts[0]!.messageType === MessageType.Transaction;
    if (this.#fence.isAround(call)) {
      const groupHash = isAhead || isHalf ? 0 : this.#facts[0]!.groupHash;
      const elsewhere = this.#fence.refuse(this.#tables.topics.byId(call.topicId)!, groupHash, call, now);
      if (elsewhere !== undefined) return elsewhere;
    }
    if (isAhead || isHalf || isLiteParent(topic.messageTypes)) {
      // These ask for other topics as well.
      const used = this.#tables.topics.byId(call.topicId)!;
      if (isLiteParent(used.messageTypes)) return this.#sendLite(used, call, now);
      return isHalf ? this.#sendHalf(used, call, now) : this.#sendTimed(used, call, now);
    }
    const mixture = this.#mixture(topic, call.messages.length);
    if (mixture !== undefined) return mixture;
    return this.#store(topic, call, this.#chooseQueue(topic), now);
  }

  /** Puts one message that was exported back into a queue as it is: it has had its time, its transaction and its type. */
  restore(call: SendCall, queueId: number, now: Now): Sent {
    const topic = this.#tables.topics.byId(call.topicId);
    if (topic === undefined) return refused(Code.TopicNotFound, `topic ${call.topicId} is not open; open it again`);
    if (!this.#journal.takesMessages) return this.#journal.refusal();
    return this.#read(call.messages[0]!, 0) ?? this.#store(topic, call, queueId, now);
  }

  /** The same for one that waits for its time, however far ahead that is; what is due by now comes at once. */
  restoreTimed(call: SendCall, now: Now): Sent {
    const topic = this.#tables.topics.byId(call.topicId);
    if (topic === undefined) return refused(Code.TopicNotFound, `topic ${call.topicId} is not open; open it again`);
    if (!this.#journal.takesMessages) return this.#journal.refusal();
    const failure = this.#read(call.messages[0]!, 0) ?? checkType(topic, this.#facts[0]!);
    return failure ?? this.#sendTimed(topic, call, now);
  }

  #store(view: TopicView, call: SendCall, queueId: number, now: Now): Sent {
    const mirror = view.laneRules?.current.mirror;
    // Copies ask for another topic as well.
    const topic = mirror === undefined ? view : this.#tables.topics.byId(view.id)!;
    this.#mirrorCount = 0;
    const queue = topic.queues[queueId]!;
    const firstOffset = this.#tables.queues.endOffset(queue);
    const storeMs = Math.floor(now.wallMs);
    let stored = 0;
    let position = -1;
    try {
      for (const last = call.messages.length - 1; stored <= last; stored++) {
        const facts = this.#facts[stored]!;
        if (mirror !== undefined) this.#mirror(topic.id, mirror, facts, this.#bodies[stored]!);
        if (last > 0) facts.sendPart = (stored < last ? SendPart.MoreFollow : 0) | (stored > 0 ? SendPart.GoesOn : 0);
        position = this.#journal.message(
          topic.id,
          queueId,
          firstOffset + stored,
          storeMs,
          facts,
          call.laneMark,
          call.bornHost,
          this.#bodies[stored]!,
        );
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // What is in the log of it lacks its last record, so it was never there.
      return refused(error.code, error.message);
    } finally {
      this.#bodies.length = 0;
    }
    return { ok: true, queueId, firstOffset, storeMs, position, transactionId: "" };
  }

  /** Gives the copy of a message its place, where the rule wants one. */
  #mirror(topicId: number, mirror: MirrorShare, facts: MessageFacts, body: Buffer): void {
    const shadow = shadowOf(this.#tables, topicId, mirror, facts.groupHash, body, 0, body.length);
    if (shadow === undefined) return;
    // The messages of a send are of one message group and visible together, and so are their copies: in the queue of the first one.
    if (this.#mirrorCount === 0) this.#mirrorQueueId = queueOfCopy(shadow, facts.groupHash, facts.priority);
    facts.mirrorTopicId = shadow.id;
    facts.mirrorQueueId = this.#mirrorQueueId;
    facts.mirrorOffset = this.#tables.queues.endOffset(shadow.queues[this.#mirrorQueueId]!) + this.#mirrorCount++;
  }

  /** A message of a lite topic lies in a topic of its own, which the first one opens. */
  #sendLite(parent: Topic, call: SendCall, now: Now): Sent {
    const [liteTopic = ""] = this.#liteTopics;
    for (let i = 0; i < call.messages.length; i++) {
      if (this.#liteTopics[i] !== liteTopic) {
        return refused(Code.BadRequest, "the messages of one send are of one lite topic: send the others apart");
      }
    }
    if (!isLiteTopicName(liteTopic)) {
      const text = `"${liteTopic.slice(0, 80)}" is no name of a lite topic: 1 to 64 letters, digits, _ and -`;
      return refused(Code.IllegalLiteTopic, text);
    }
    try {
      return this.#store(this.#opener.ownTopic(liteTopicName(parent.name, liteTopic), liteChildTypes), call, 0, now);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return refused(error.code, error.message);
    }
  }

  #sendHalf(topic: Topic, { laneMark, bornHost }: SendCall, now: Now): Sent {
    try {
      const begun = this.#transactions.begin(topic, this.#facts[0]!, laneMark, bornHost, this.#bodies[0]!, now);
      if (!begun.ok) return begun;
      const { transactionId, position } = begun;
      return { ok: true, queueId: 0, firstOffset: 0, storeMs: Math.floor(now.wallMs), position, transactionId };
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return refused(error.code, error.message);
    } finally {
      this.#bodies.length = 0;
    }
  }

  /** One message is not to be seen yet: then none is, for all of a call are stored alike. */
  #sendTimed(topic: Topic, { messages, laneMark, bornHost }: SendCall, now: Now): Sent {
    const count = messages.length;
    if (!this.#facts.every(({ isTimed }, i) => isTimed || i >= count)) {
      const text =
        "messages with and without a delivery time cannot be sent at once; send them in requests of their own";
      return refused(Code.BadRequest, text);
    }
    const sent = this.#timed.store(topic, count, this.#facts, this.#bodies, laneMark, bornHost, now);
    this.#bodies.length = 0;
    return sent;
  }

  #check(topic: TopicView, message: Buffer, index: number, now: Now): Refused | undefined {
    const failure = this.#read(message, index);
    if (failure !== undefined) return failure;
    const facts = this.#facts[index]!;
    return checkType(topic, facts) ?? this.#timed.refuse(facts, now);
  }

  /** Fills row `index` of what is to be stored, or says why it cannot be. */
  #read(message: Buffer, index: number): Refused | undefined {
    if (message.length > messageBytesMax) {
      return refused(
        Code.MessageBodyTooLarge,
        `message ${index} has ${message.length} of at most ${messageBytesMax} bytes`,
      );
    }
    const scan = this.#scan;
    try {
      scanMessage(message, 0, message.length, scan);
    } catch (error) {
      if (error instanceof MeshError) return refused(Code.MessageCorrupted, `message ${index}: ${error.message}`);
      throw error;
    }
    const facts = (this.#facts[index] ??= messageFactsBlank());
    readMessageFacts(scan, facts);
    if (Math.max(facts.tagLength, facts.groupLength, facts.idLength) > factBytesMax) {
      return refused(
        Code.MessageCorrupted,
        `message ${index}: tag, message group and id have at most ${factBytesMax} bytes`,
      );
    }
    this.#liteTopics[index] = facts.hasLiteTopic
      ? scan.bytes.toString("utf8", scan.liteTopicStart, scan.liteTopicEnd)
      : "";
    // A part that came in pieces was put together, as many decoders do not.
    this.#bodies[index] = scan.isRewritten ? scan.bytes.subarray(scan.start, scan.end) : message;
    return undefined;
  }

  /** The messages of a send lie in one queue: what belongs into different ones cannot be sent at once. */
  #mixture(topic: TopicView, count: number): Refused | undefined {
    const first = this.#facts[0]!;
    for (let i = 1; i < count; i++) {
      const facts = this.#facts[i]!;
      if (facts.groupHash !== first.groupHash) {
        return refused(Code.BadRequest, "the messages of one send are of one message group: send the others apart");
      }
      if (isPriorityTopic(topic.messageTypes) && facts.priority !== first.priority) {
        return refused(Code.BadRequest, "the messages of one send have one priority: send the others apart");
      }
    }
    return undefined;
  }

  /** The messages of one group share a queue, those of one priority too; others go round. */
  #chooseQueue(topic: TopicView): number {
    const { groupHash, priority } = this.#facts[0]!;
    if (isPriorityTopic(topic.messageTypes)) return queueOfPriority(priority, topic.queues.length);
    if (groupHash !== 0) return queueOfGroup(groupHash, topic.groupQueueCount);
    return nextQueueOf(topic);
  }
}

function checkType(topic: TopicView, facts: MessageFacts): Refused | undefined {
  const type = realType(facts, topic.messageTypes);
  if ((topic.messageTypes & (1 << type)) === 0) {
    return refused(
      Code.MessagePropertyConflictWithType,
      `topic ${topic.name} does not take ${typeNames[type]} messages; send them to a topic of that type`,
    );
  }
  if (type === MessageType.Transaction && (facts.isTimed || facts.groupHash !== 0 || facts.hasLiteTopic)) {
    return refused(
      Code.MessagePropertyConflictWithType,
      "a transactional message has no message group, delivery time or lite topic; leave it out, or send another type",
    );
  }
  if (type === MessageType.Lite && facts.isTimed) {
    const text =
      "a message of a lite topic has no delivery time; leave it out, or send to a topic that takes DELAY messages";
    return refused(Code.MessagePropertyConflictWithType, text);
  }
  return undefined;
}

/**
 * What a message is by what it carries; the field `message_type` alone decides about transactions only. Where a topic takes
 * priorities, a message without one has the lowest: SDKs leave the lowest out, or declare NORMAL.
 */
function realType(facts: MessageFacts, topicTypes: number): number {
  if (facts.messageType === MessageType.Transaction) return MessageType.Transaction;
  if (isLiteParent(topicTypes)) return facts.hasLiteTopic ? MessageType.Lite : MessageType.Normal;
  if (isPriorityTopic(topicTypes) && !facts.isTimed && facts.groupHash === 0) return MessageType.Priority;
  if (facts.isTimed) return MessageType.Delay;
  return facts.groupHash !== 0 ? MessageType.Fifo : MessageType.Normal;
}

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
