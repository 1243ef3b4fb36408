import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { widened } from "../dispatch/widened.ts";
import type { Subscription } from "../pop/subscription.ts";
import { IdRows } from "./id-rows.ts";
import { NameTable } from "./name-table.ts";
import { Topic } from "./topic.ts";

/** What the topics ask of the table of subscriptions. */
export interface SubscriptionSource {
  /** The subscription of a group, made ready for use; undefined when the group does not read the topic. */
  find(topic: Topic, groupId: number): Subscription | undefined;
  /** All of them; each is ready for use until the next is asked for. */
  ofTopic(topic: Topic): Iterable<Subscription>;
  /** Puts away what is idle; true when something of the topic remains in use. */
  putAway(topic: Topic): boolean;
  /** A look at what is kept for the sake of clients that may be gone. */
  sweep(nowMs: number): void;
}

/** Topics in use that are kept at least. */
const inUseMinDefault = 1024;
const none = -1;

/**
 * Topics by id and by name. A row of numbers for each: 62 bytes with its places in the tables, and its name. `Topic` objects
 * are made for those in use and put away when there are many (`putAwayIdle`).
 */
export class TopicTable {
  nextId = 1;
  /** Set by the table of subscriptions. */
  subscriptions!: SubscriptionSource;

  /** By row. 0: the row is free. */
  #ids = new Uint32Array(64);
  #incarnations = new Float64Array(64);
  #messageTypes = new Uint32Array(64);
  #openedPositions = new Float64Array(64);
  /** Slot of queue 0; those of the others follow it, unless they are in `#scattered`. */
  #firstQueues = new Uint32Array(64);
  #queueCounts = new Uint16Array(64);
  #groupQueueCounts = new Uint16Array(64);
  #nextQueues = new Uint16Array(64);
  /** First subscription in the list of the topic; `none`: nobody reads it. */
  #firstSubscriptions = new Int32Array(64);
  #end = 0;
  readonly #free: number[] = [];
  /** Queue slots of topics whose queues do not lie side by side. */
  readonly #scattered = new Map<number, number[]>();
  readonly #names = new NameTable();
  readonly #rowById = new IdRows();
  #count = 0;

  /** In use, by id: those asked for lately, and those before. */
  #young = new Map<number, Topic>();
  #old = new Map<number, Topic>();
  readonly #inUseMin: number;
  #youngMax: number;
  /** Asked for last. */
  #last: Topic | undefined;

  constructor(inUseMin = inUseMinDefault) {
    this.#inUseMin = inUseMin;
    this.#youngMax = inUseMin;
  }

  get count(): number {
    return this.#count;
  }

  /** Topics for which there is an object. */
  get inUseCount(): number {
    return this.#young.size + this.#old.size;
  }

  byId(id: number): Topic | undefined {
    if (this.#last?.id === id) return this.#last;
    const topic = this.#young.get(id) ?? this.#take(id);
    if (topic !== undefined) this.#last = topic;
    return topic;
  }

  byName(name: string): Topic | undefined {
    const row = this.#names.find(name);
    return row < 0 ? undefined : this.byId(this.#ids[row]!);
  }

  /** In the order of their ids. One that was not in use may be used until the next is asked for. */
  *all(): Generator<Topic> {
    const ids = this.#ids.slice(0, this.#end).sort();
    for (const id of ids) {
      if (this.#rowById.get(id) < 0) continue;
      const known = this.#young.get(id) ?? this.#old.get(id);
      const topic = known ?? new Topic(this, id, this.#rowById.get(id));
      if (known === undefined) this.#young.set(id, topic);
      try {
        yield topic;
      } finally {
        if (known === undefined && !topic.isWoken && !this.subscriptions.putAway(topic)) this.#forget(topic);
      }
    }
  }

  add(id: number, name: string, incarnation: number, messageTypes: number, openedPosition: number): Topic {
    const row = this.#free.pop() ?? this.#end++;
    if (row >= this.#ids.length) this.#grow();
    this.#ids[row] = id;
    this.#incarnations[row] = incarnation;
    this.#messageTypes[row] = messageTypes;
    this.#openedPositions[row] = openedPosition;
    this.#queueCounts[row] = 0;
    this.#groupQueueCounts[row] = 1;
    this.#nextQueues[row] = 0;
    this.#firstSubscriptions[row] = none;
    this.#names.set(row, name);
    this.#rowById.set(id, row);
    this.#count++;
    this.nextId = Math.max(this.nextId, id + 1);
    const topic = new Topic(this, id, row);
    this.#young.set(id, topic);
    return topic;
  }

  remove(topic: Topic): void {
    const { id, row } = topic;
    this.#names.remove(row);
    this.#rowById.remove(id);
    this.#ids[row] = 0;
    this.#free.push(row);
    this.#scattered.delete(row);
    this.#count--;
    this.#forget(topic);
  }

  /** Gives a topic one more queue, which lies at `slot` of the queue table. */
  addQueue(topic: Topic, slot: number): void {
    const { row } = topic;
    const count = this.#queueCounts[row]!;
    if (count === 0) this.#firstQueues[row] = slot;
    const scattered = this.#scattered.get(row);
    if (scattered !== undefined) scattered.push(slot);
    else if (slot !== this.#firstQueues[row]! + count) {
      this.#scattered.set(row, [...this.queuesOf(row), slot]);
    }
    this.#queueCounts[row] = count + 1;
    topic.queues.push(slot);
  }

  /**
   * Puts topics and subscriptions away that are idle, when many are in use. Nobody may hold an object of an idle one then: to
   * be called between two calls, not within one.
   */
  putAwayIdle(nowMs: number): void {
    if (this.#young.size < this.#youngMax) return;
    this.subscriptions.sweep(nowMs);
    this.#last = undefined;
    let kept = 0;
    for (const topic of this.#old.values()) {
      if (!this.subscriptions.putAway(topic) && !topic.isWoken) continue;
      this.#young.set(topic.id, topic);
      kept++;
    }
    this.#old = this.#young;
    this.#young = new Map();
    // What stays in use costs a look each time: with more of it, the next time comes later.
    this.#youngMax = Math.max(this.#inUseMin, kept);
  }

  /** For a state image. */
  writeTo(into: ImageWriter): void {
    into.u32(this.#end);
    for (const column of this.#columns()) into.column(column.subarray(0, this.#end));
    this.#names.writeTo(into, this.#end);
    into.u32(this.#scattered.size);
    for (const [row, slots] of this.#scattered) {
      into.u32(row);
      into.column(Uint32Array.from(slots));
    }
  }

  /** Fills an empty table. */
  readFrom(from: ImageReader): void {
    this.#end = from.u32();
    this.#grow(this.#end);
    for (const column of this.#columns()) from.column(column.subarray(0, this.#end));
    this.#names.readFrom(from, this.#end);
    for (let left = from.u32(); left > 0; left--) {
      const row = from.u32();
      const slots = new Uint32Array(this.#queueCounts[row] ?? 0);
      from.column(slots);
      this.#scattered.set(row, [...slots]);
    }
    for (let row = this.#end - 1; row >= 0; row--) {
      const id = this.#ids[row]!;
      if (id === 0) this.#free.push(row);
      else {
        this.#rowById.set(id, row);
        this.#count++;
      }
    }
  }

  // For `Topic`, which is a view of a row.

  name(row: number): string {
    return this.#names.text(row);
  }

  queuesOf(row: number): number[] {
    const scattered = this.#scattered.get(row);
    if (scattered !== undefined) return [...scattered];
    const first = this.#firstQueues[row]!;
    const count = this.#queueCounts[row]!;
    if (count === 1) return [first];
    const queues: number[] = [];
    for (let i = 0; i < count; i++) queues.push(first + i);
    return queues;
  }

  incarnation(row: number): number {
    return this.#incarnations[row]!;
  }

  setIncarnation(row: number, incarnation: number): void {
    this.#incarnations[row] = incarnation;
  }

  messageTypes(row: number): number {
    return this.#messageTypes[row]!;
  }

  setMessageTypes(row: number, messageTypes: number): void {
    this.#messageTypes[row] = messageTypes;
  }

  openedPosition(row: number): number {
    return this.#openedPositions[row]!;
  }

  setOpenedPosition(row: number, position: number): void {
    this.#openedPositions[row] = position;
  }

  groupQueueCount(row: number): number {
    return this.#groupQueueCounts[row]!;
  }

  setGroupQueueCount(row: number, count: number): void {
    this.#groupQueueCounts[row] = count;
  }

  nextQueue(row: number): number {
    return this.#nextQueues[row]!;
  }

  setNextQueue(row: number, queueId: number): void {
    this.#nextQueues[row] = queueId;
  }

  firstSubscription(row: number): number {
    return this.#firstSubscriptions[row]!;
  }

  setFirstSubscription(row: number, slot: number): void {
    this.#firstSubscriptions[row] = slot;
  }

  #forget(topic: Topic): void {
    this.#young.delete(topic.id);
    this.#old.delete(topic.id);
    if (this.#last === topic) this.#last = undefined;
  }

  #take(id: number): Topic | undefined {
    let topic = this.#old.get(id);
    if (topic !== undefined) this.#old.delete(id);
    else {
      const row = this.#rowById.get(id);
      if (row < 0) return undefined;
      topic = new Topic(this, id, row);
    }
    this.#young.set(id, topic);
    return topic;
  }

  #columns(): (Uint32Array | Float64Array | Uint16Array | Int32Array)[] {
    return [
      this.#ids,
      this.#incarnations,
      this.#messageTypes,
      this.#openedPositions,
      this.#firstQueues,
      this.#queueCounts,
      this.#groupQueueCounts,
      this.#nextQueues,
      this.#firstSubscriptions,
    ];
  }

  #grow(count = this.#ids.length * 2): void {
    this.#ids = widened(this.#ids, count);
    this.#incarnations = widened(this.#incarnations, count);
    this.#messageTypes = widened(this.#messageTypes, count);
    this.#openedPositions = widened(this.#openedPositions, count);
    this.#firstQueues = widened(this.#firstQueues, count);
    this.#queueCounts = widened(this.#queueCounts, count);
    this.#groupQueueCounts = widened(this.#groupQueueCounts, count);
    this.#nextQueues = widened(this.#nextQueues, count);
    this.#firstSubscriptions = widened(this.#firstSubscriptions, count);
  }
}
