import type { Subscription } from "../pop/subscription.ts";

/** One incarnation of a topic. Its id is never used again. */
export interface Topic {
  readonly id: number;
  /** "<namespace>/<topic>". */
  readonly name: string;
  incarnation: number;
  /** Bit n set: MessageType n is accepted. */
  messageTypes: number;
  /** Slot in the queue table of each queue, by queue id. */
  readonly queues: number[];
  /** Position of the record that opened or last changed it: what an idempotent open waits for. */
  openedPosition: number;
  readonly subscriptions: Map<number, Subscription>;
  /** Round robin for sends without a message group. A hint, not part of the derived state. */
  nextQueue: number;
  /** Already among those to be served in this turn. */
  isWoken: boolean;
}

export const queueCountMax = 1024;

/** Topics by id and by name. */
export class TopicTable {
  readonly #byId: (Topic | undefined)[] = [];
  readonly #byName = new Map<string, Topic>();
  nextId = 1;

  byId(id: number): Topic | undefined {
    return this.#byId[id];
  }

  byName(name: string): Topic | undefined {
    return this.#byName.get(name);
  }

  /** In the order of their ids. */
  *all(): Generator<Topic> {
    for (const topic of this.#byId) {
      if (topic !== undefined) yield topic;
    }
  }

  add(id: number, name: string, incarnation: number, messageTypes: number, openedPosition: number): Topic {
    const topic: Topic = {
      id,
      name,
      incarnation,
      messageTypes,
      queues: [],
      openedPosition,
      subscriptions: new Map(),
      nextQueue: 0,
      isWoken: false,
    };
    this.#byId[id] = topic;
    this.#byName.set(name, topic);
    this.nextId = Math.max(this.nextId, id + 1);
    return topic;
  }

  remove(topic: Topic): void {
    this.#byId[topic.id] = undefined;
    if (this.#byName.get(topic.name) === topic) this.#byName.delete(topic.name);
  }
}

const deadLetterPrefix = "%DLQ%";

/** The topic that holds a group's dead letters: "<namespace>/%DLQ%<group>". */
export function deadLetterTopicName(groupName: string): string {
  const slash = groupName.lastIndexOf("/") + 1;
  return `${groupName.slice(0, slash)}${deadLetterPrefix}${groupName.slice(slash)}`;
}

export function isDeadLetterTopic(topicName: string): boolean {
  return topicName.startsWith(deadLetterPrefix, topicName.lastIndexOf("/") + 1);
}
