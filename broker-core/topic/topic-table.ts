import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { RowChunks, rowMask, rowShift } from "../dispatch/row-chunks.ts";
import { LaneRuleTable } from "../lane/lane-rule-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { IdRows } from "./id-rows.ts";
import { NameTable } from "./name-table.ts";
import { deadLetterPrefix, Topic } from "./topic.ts";
import { LentTopic, type TopicView } from "./topic-view.ts";

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
const deadLetterPrefixBytes = Buffer.from(deadLetterPrefix);

// A row, 40 bytes; in halves: id (0: the row is free), slot of queue 0 (those of the others follow it, unless they are in
// `#scattered`), message types, first subscription in the list of the topic (`none` as 32 bits: nobody reads it), count of queues
// and count of those of message groups in 16 bits each, next queue; in doubles: incarnation, position of the record that opened it.
const words = 5;
const halfWords = 2 * words;
const idAt = 0;
const firstQueueAt = 1;
const messageTypesAt = 6;
const firstSubscriptionAt = 7;
const countsAt = 8;
const nextQueueAt = 9;
const incarnationAt = 1;
const openedPositionAt = 2;

/**
 * Topics by id and by name. A row of numbers for each: 64 bytes with its places in the tables, and its name. `Topic` objects
 * are made for those in use and put away when there are many (`putAwayIdle`).
 */
export class TopicTable {
  nextId = 1;
  /** Set by the table of subscriptions. */
  subscriptions!: SubscriptionSource;
  /** Of topics that are there. */
  readonly laneRules = new LaneRuleTable();

  readonly #rows = new RowChunks(words);
  readonly #doubles = this.#rows.doubles;
  readonly #halves = this.#rows.halves;
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
  /** For looks at topics that are put away: a view that is turned from one row to the next. */
  readonly #lent: LentTopic;
  /** What `#lent` shows; 0: nothing, it has to be turned first. */
  #lentId = 0;

  constructor(inUseMin = inUseMinDefault) {
    this.#inUseMin = inUseMin;
    this.#youngMax = inUseMin;
    this.#lent = new LentTopic(this);
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

  /**
   * The same for a look that ends before another topic is asked for: a topic that is put away stays so. A send to one of a million
   * makes no object and moves nothing in memory but the row.
   */
  lend(id: number): TopicView | undefined {
    if (this.#last?.id === id) return this.#last;
    if (this.#lentId === id && id !== 0) return this.#lent;
    if (this.#rowById.isMarked(id)) return this.byId(id);
    const row = this.#rowById.get(id);
    if (row < 0) return undefined;
    this.#lent.turnTo(id, row);
    this.#lentId = id;
    return this.#lent;
  }

  /** The same for a topic that is in use already; undefined also when it is put away. */
  inUse(id: number): Topic | undefined {
    if (this.#last?.id === id) return this.#last;
    // Of a million topics nearly all are put away.
    if (!this.#rowById.isMarked(id)) return undefined;
    return this.#young.get(id) ?? this.#old.get(id);
  }

  byName(name: string): Topic | undefined {
    const row = this.#names.find(name);
    return row < 0 ? undefined : this.byId(this.#get(row, idAt));
  }

  /** In the order of their ids. One that was not in use may be used until the next is asked for. */
  *all(): Generator<Topic> {
    const ids = new Uint32Array(this.#end);
    for (let row = 0; row < ids.length; row++) ids[row] = this.#get(row, idAt);
    ids.sort();
    for (const id of ids) {
      if (this.#rowById.get(id) < 0) continue;
      const known = this.#young.get(id) ?? this.#old.get(id);
      const topic = known ?? this.#use(id, this.#rowById.get(id));
      try {
        yield topic;
      } finally {
        if (known === undefined && !topic.isWoken && !this.subscriptions.putAway(topic)) this.#forget(topic);
      }
    }
  }

  add(id: number, name: string, incarnation: number, messageTypes: number, openedPosition: number): Topic {
    const row = this.#free.pop() ?? this.#end++;
    this.#rows.clear(row);
    this.#set(row, idAt, id);
    this.setIncarnation(row, incarnation);
    this.#set(row, messageTypesAt, messageTypes);
    this.setOpenedPosition(row, openedPosition);
    this.setGroupQueueCount(row, 1);
    this.setFirstSubscription(row, none);
    this.#names.set(row, name);
    this.#rowById.set(id, row);
    this.#count++;
    this.nextId = Math.max(this.nextId, id + 1);
    return this.#use(id, row);
  }

  remove(topic: Topic): void {
    const { id, row } = topic;
    this.#forget(topic);
    this.#names.remove(row);
    this.laneRules.remove(id);
    this.#rowById.remove(id);
    this.#set(row, idAt, 0);
    this.#free.push(row);
    this.#scattered.delete(row);
    this.#count--;
  }

  /** Gives a topic one more queue, which lies at `slot` of the queue table. */
  addQueue(topic: Topic, slot: number): void {
    const { row } = topic;
    const count = this.#queueCount(row);
    if (count === 0) this.#set(row, firstQueueAt, slot);
    const scattered = this.#scattered.get(row);
    if (scattered !== undefined) scattered.push(slot);
    else if (slot !== this.#get(row, firstQueueAt) + count) {
      this.#scattered.set(row, [...this.queuesOf(row), slot]);
    }
    this.#set(row, countsAt, this.#get(row, countsAt) + 1);
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
      if (!this.subscriptions.putAway(topic) && !topic.isWoken) {
        this.#rowById.mark(topic.id, false);
        continue;
      }
      this.#young.set(topic.id, topic);
      kept++;
    }
    this.#old = this.#young;
    this.#young = new Map();
    // What stays in use costs a look each time: with more of it, the next time comes later.
    this.#youngMax = Math.max(this.#inUseMin, kept);
  }

  /** At least so many bytes has the image. */
  get imageBytes(): number {
    return this.#rows.imageBytes(this.#end) + this.#names.imageBytes(this.#end);
  }

  /** For a state image. */
  writeTo(into: ImageWriter): void {
    into.u32(this.#end);
    this.#rows.writeTo(into, this.#end);
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
    this.#rows.readFrom(from, this.#end);
    this.#names.readFrom(from, this.#end);
    for (let left = from.u32(); left > 0; left--) {
      const row = from.u32();
      const slots = new Uint32Array(row < this.#end ? this.#queueCount(row) : 0);
      from.column(slots);
      this.#scattered.set(row, [...slots]);
    }
    for (let row = this.#end - 1; row >= 0; row--) {
      const id = this.#get(row, idAt);
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

  /** The only queue of a topic that has one; -1 when it has none or more. */
  onlyQueueOf(row: number): number {
    return this.#queueCount(row) === 1 ? this.#get(row, firstQueueAt) : -1;
  }

  isDeadLetterTopic(row: number): boolean {
    return this.#names.lastPartBegins(row, deadLetterPrefixBytes);
  }

  queuesOf(row: number): number[] {
    const scattered = this.#scattered.get(row);
    if (scattered !== undefined) return [...scattered];
    const first = this.#get(row, firstQueueAt);
    const count = this.#queueCount(row);
    if (count === 1) return [first];
    const queues: number[] = [];
    for (let i = 0; i < count; i++) queues.push(first + i);
    return queues;
  }

  incarnation(row: number): number {
    return this.#doubles[row >>> rowShift]![(row & rowMask) * words + incarnationAt]!;
  }

  setIncarnation(row: number, incarnation: number): void {
    this.#doubles[row >>> rowShift]![(row & rowMask) * words + incarnationAt] = incarnation;
  }

  messageTypes(row: number): number {
    return this.#get(row, messageTypesAt);
  }

  setMessageTypes(row: number, messageTypes: number): void {
    this.#set(row, messageTypesAt, messageTypes);
  }

  openedPosition(row: number): number {
    return this.#doubles[row >>> rowShift]![(row & rowMask) * words + openedPositionAt]!;
  }

  setOpenedPosition(row: number, position: number): void {
    this.#doubles[row >>> rowShift]![(row & rowMask) * words + openedPositionAt] = position;
  }

  groupQueueCount(row: number): number {
    return this.#get(row, countsAt) >>> 16;
  }

  setGroupQueueCount(row: number, count: number): void {
    this.#set(row, countsAt, this.#queueCount(row) | (count << 16));
  }

  nextQueue(row: number): number {
    return this.#get(row, nextQueueAt);
  }

  setNextQueue(row: number, queueId: number): void {
    this.#set(row, nextQueueAt, queueId);
  }

  firstSubscription(row: number): number {
    // `none` comes back as it was.
    return this.#get(row, firstSubscriptionAt) | 0;
  }

  setFirstSubscription(row: number, slot: number): void {
    this.#set(row, firstSubscriptionAt, slot);
  }

  #queueCount(row: number): number {
    return this.#get(row, countsAt) & 0xffff;
  }

  #get(row: number, field: number): number {
    return this.#halves[row >>> rowShift]![(row & rowMask) * halfWords + field]!;
  }

  #set(row: number, field: number, value: number): void {
    this.#halves[row >>> rowShift]![(row & rowMask) * halfWords + field] = value;
  }

  /** Makes the object of a topic that has none. */
  #use(id: number, row: number): Topic {
    const topic = new Topic(this, id, row);
    this.#young.set(id, topic);
    this.#rowById.mark(id, true);
    // What it has now may change through the object.
    if (this.#lentId === id) this.#lentId = 0;
    return topic;
  }

  #forget(topic: Topic): void {
    this.#young.delete(topic.id);
    this.#old.delete(topic.id);
    this.#rowById.mark(topic.id, false);
    if (this.#last === topic) this.#last = undefined;
  }

  #take(id: number): Topic | undefined {
    const topic = this.#old.get(id);
    if (topic === undefined) {
      const row = this.#rowById.get(id);
      return row < 0 ? undefined : this.#use(id, row);
    }
    this.#old.delete(id);
    this.#young.set(id, topic);
    return topic;
  }
}
