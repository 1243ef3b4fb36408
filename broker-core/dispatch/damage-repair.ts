import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { liteTopicName } from "../lite/lite-name.ts";
import type { Subscription } from "../pop/subscription.ts";
import { messageBodyStart, messageGroupHash } from "../record/message-record.ts";
import { type ConsumerGroup, isUnnamed, unnamedGroup } from "../topic/consumer-group.ts";
import { ownIncarnation } from "../topic/opener.ts";
import { fifoBit, queueCountMax, type Topic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";

/** Of clients and sidecars that name none. */
const defaultNamespace = "default";

/** Of a topic whose own word is lost: all there are. FIFO only if one of its messages has a group: that is for life. */
const anyType = 0x7fff_ffff;

const scan = new MessageScan();

/**
 * Makes topics, groups, positions and queues again whose beginnings are lost (replay-damage.ts), as far as what is left speaks
 * of them. Part of the dispatcher.
 */
export class DamageRepair {
  readonly #tables: BrokerTables;
  readonly #drop: (topic: Topic) => void;
  readonly #onBegin: (subscription: Subscription) => void;
  /** Of the record at hand. */
  position = 0;

  /** `drop` lets a topic go as its TopicDropped would; `onBegin` gives a group that seems to begin what else it has in the topic. */
  constructor(tables: BrokerTables, drop: (topic: Topic) => void, onBegin: (subscription: Subscription) => void) {
    this.#tables = tables;
    this.#drop = drop;
    this.#onBegin = onBegin;
  }

  /** A topic that an intact record names; undefined when a younger one has the name: then it is gone. */
  topic(id: number, name: string, messageTypes = anyType & ~fifoBit): Topic | undefined {
    const { topics, damage } = this.#tables;
    const known = topics.byId(id);
    if (known !== undefined) return known;
    if (name === "" || !this.makeWay(id, name)) return undefined;
    damage.note(`topic ${name} was made again from what speaks of it`);
    const topic = topics.add(id, name, ownIncarnation, messageTypes, this.position);
    // Whoever opens it says how many it has.
    topic.groupQueueCount = 0;
    return topic;
  }

  /** The topic of a message record, by the name that the client's own bytes have. */
  topicOfMessage(id: number, bytes: Buffer, start: number, end: number): Topic | undefined {
    const types = messageGroupHash(bytes, start) === 0 ? anyType & ~fifoBit : anyType;
    const topic = this.#tables.topics.byId(id) ?? this.topic(id, nameInMessage(bytes, start, end), types);
    if (topic === undefined) this.#tables.damage.note("messages of a topic whose name is lost");
    else if (topic.groupQueueCount === 0) topic.messageTypes |= types;
    return topic;
  }

  /** The name is about to be that of topic `id`: an older one that has it was dropped. False: a younger one has it. */
  makeWay(id: number, name: string): boolean {
    const { topics, damage } = this.#tables;
    const other = topics.byName(name);
    if (other === undefined || other.id === id) return true;
    if (other.id > id) return false;
    damage.note(`topic ${name} was deleted, and created anew`);
    this.#drop(other);
    return true;
  }

  /** `name`: as an intact record says; without one the group has none until an operator gives it back. */
  group(id: number, name = ""): ConsumerGroup {
    const { groups, damage } = this.#tables;
    const known = groups.byId(id);
    const isFree = name !== "" && groups.byName(name) === undefined;
    if (known !== undefined) {
      if (!isFree || !isUnnamed(known)) return known;
      damage.note(`group ${id} has its name ${name} back`);
      return groups.put({ ...known.policy, name }, known.openedPosition);
    }
    damage.note(isFree ? `group ${name} was made again` : `group ${id} has lost its name`);
    return groups.put(
      {
        ...{ groupId: id, name: isFree ? name : unnamedGroup(id), generation: 0, attemptsMax: 0, inflightMax: 0 },
        ...{ delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 },
      },
      this.position,
    );
  }

  /** A group's subscription; it begins at the beginning, where that is lost. Undefined: nothing is known of the topic. */
  subscription(groupId: number, topicId: number): Subscription | undefined {
    const { topics, queues, subscriptions, damage } = this.#tables;
    const topic = topics.byId(topicId);
    const group = this.group(groupId);
    if (topic === undefined) {
      damage.note("records about a topic that is lost with all of its messages");
      return undefined;
    }
    const known = topic.subscriptions.get(groupId);
    if (known !== undefined) return known;
    damage.note(`where group ${group.name} began in ${topic.name}`);
    const subscription = subscriptions.add(group, topic);
    topic.queues.forEach((queue, queueId) => {
      subscription.cursors[queueId] = queues.beginOffset(queue);
    });
    // Otherwise the base lane would pass by what is theirs.
    this.#onBegin(subscription);
    return subscription;
  }

  /**
   * A record speaks of offsets of a queue below `end`: they were given out. Those that are not there are lost. False: there is no such
   * queue, and never was.
   */
  reach(topic: Topic, queueId: number, end: number): boolean {
    const { topics, queues, undurable, damage } = this.#tables;
    if (queueId >= queueCountMax) return false;
    if (topic.queues.length <= queueId) {
      while (topic.queues.length <= queueId) topics.addQueue(topic, queues.add(topic.id, topic.queues.length));
      for (const subscription of topic.subscriptions.values()) subscription.widen();
    }
    const queue = topic.queues[queueId]!;
    const begin = queues.beginOffset(queue);
    for (let offset = queues.endOffset(queue); offset < end; offset++) {
      const last = offset > queues.beginOffset(queue) ? queues.position(queues.entry(queue, offset - 1)) : 0;
      const position = damage.placeBetween(last, this.position);
      queues.append(queue, position, 0, 0, 0, 0, EntryFlag.Lost);
      undurable.push(position, queue);
      damage.countLost(topic.id, topic.name, queueId, offset);
    }
    // What was lost may have gone with the beginning of the log before it was missed.
    if (queues.beginOffset(queue) > begin) {
      for (const subscription of topic.subscriptions.values()) {
        for (const { cursors } of [subscription, ...(subscription.lanes?.all() ?? [])]) {
          cursors[queueId] = Math.max(cursors[queueId]!, queues.beginOffset(queue));
        }
      }
    }
    return true;
  }
}

/** "<namespace>/<topic>", of a lite topic with its own name behind; "" when the bytes are no message. */
function nameInMessage(bytes: Buffer, start: number, end: number): string {
  try {
    scanMessage(bytes, messageBodyStart(bytes, start), end, scan);
  } catch (error) {
    if (error instanceof MeshError) return "";
    throw error;
  }
  const text = (from: number, to: number): string => scan.bytes.toString("utf8", from, to);
  const topic = text(scan.topicStart, scan.topicEnd);
  if (topic === "") return "";
  const name = `${text(scan.namespaceStart, scan.namespaceEnd) || defaultNamespace}/${topic}`;
  const lite = text(scan.liteTopicStart, scan.liteTopicEnd);
  return lite === "" ? name : liteTopicName(name, lite);
}
