import type { Subscription } from "../pop/subscription.ts";
import type { SubscriptionsByGroup } from "../pop/subscriptions-by-group.ts";
import type { TopicTable } from "./topic-table.ts";
import { TopicView } from "./topic-view.ts";

/**
 * One incarnation of a topic, while it is in use: a view of its row in the table. Between two calls an idle topic is put away,
 * and whoever asks again gets another object: compare ids.
 */
export class Topic extends TopicView {
  /**
   * Messages with a message group are handed out in the order of their group: the topic takes FIFO messages. Fixed for the
   * life of an incarnation, but for one whose opening is lost (damage-repair.ts). What lies in a dead-letter topic has lost its
   * turn already.
   */
  isOrdered: boolean;
  /** Already among those to be served in this turn. */
  isWoken = false;
  /** Receives that wait, of all groups. With one the topic is in use. */
  waitCount = 0;
  /** Subscriptions in use, by group id. Undefined: none is. */
  subscriptionsInUse: SubscriptionsByGroup | undefined = undefined;
  #subscriptions: TopicSubscriptions | undefined = undefined;
  readonly #topics: TopicTable;

  constructor(table: TopicTable, id: number, row: number) {
    super(table, id, row);
    this.#topics = table;
    this.isOrdered = isOrderedTopicOf(table, row, super.messageTypes);
  }

  /** Made when it is asked for. */
  get subscriptions(): TopicSubscriptions {
    this.#subscriptions ??= new TopicSubscriptions(this, this.#topics);
    return this.#subscriptions;
  }

  override get messageTypes(): number {
    return super.messageTypes;
  }

  override set messageTypes(messageTypes: number) {
    super.messageTypes = messageTypes;
    this.isOrdered = isOrderedTopicOf(this.#topics, this.row, messageTypes);
  }
}

/** The groups that read a topic. */
export class TopicSubscriptions {
  readonly #topic: Topic;
  readonly #table: TopicTable;

  constructor(topic: Topic, table: TopicTable) {
    this.#topic = topic;
    this.#table = table;
  }

  /** The subscription of a group; undefined when the group never read the topic. */
  get(groupId: number): Subscription | undefined {
    return this.#topic.subscriptionsInUse?.get(groupId) ?? this.#table.subscriptions.find(this.#topic, groupId);
  }

  /** All of them. One that was idle may be used until the next is asked for. */
  values(): Iterable<Subscription> {
    return this.#table.subscriptions.ofTopic(this.#topic);
  }
}

export const queueCountMax = 1024;

/** MessageType FIFO of apache.rocketmq.v2, as a bit of `messageTypes`. */
export const fifoBit = 1 << 2;

/** Most topics take no FIFO messages: their names need not be looked at. */
const mayBeOrdered = (messageTypes: number): boolean => (messageTypes & fifoBit) !== 0;

/** The same for a topic that is there, whose name is looked at where it lies. */
function isOrderedTopicOf(table: TopicTable, row: number, messageTypes: number): boolean {
  return mayBeOrdered(messageTypes) && !table.isDeadLetterTopic(row);
}

/** Whether a topic of that name and those types keeps the order of message groups. */
export function isOrderedTopic(name: string, messageTypes: number): boolean {
  return mayBeOrdered(messageTypes) && !isDeadLetterTopic(name);
}

export const deadLetterPrefix = "%DLQ%";

/** The topic that holds a group's dead letters: "<namespace>/%DLQ%<group>". */
export function deadLetterTopicName(groupName: string): string {
  const slash = groupName.lastIndexOf("/") + 1;
  return `${groupName.slice(0, slash)}${deadLetterPrefix}${groupName.slice(slash)}`;
}

/** The name of the group whose dead letters the topic holds; "": it holds none. */
export function groupOfDeadLetterTopic(topicName: string): string {
  if (!isDeadLetterTopic(topicName)) return "";
  const slash = topicName.lastIndexOf("/") + 1;
  return topicName.slice(0, slash) + topicName.slice(slash + deadLetterPrefix.length);
}

export function isDeadLetterTopic(topicName: string): boolean {
  return topicName.startsWith(deadLetterPrefix, topicName.lastIndexOf("/") + 1);
}

/** MessageType PRIORITY of apache.rocketmq.v2. */
const priorityTypeBit = 1 << 6;
const otherTypeBits = 0b11_1110;

/** A topic that takes PRIORITY messages and no others: its queues are priorities. */
export function isPriorityTopic(messageTypes: number): boolean {
  return (messageTypes & priorityTypeBit) !== 0 && (messageTypes & otherTypeBits) === 0;
}
