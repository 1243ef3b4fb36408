import type { TopicLaneRules } from "../lane/topic-lane-rules.ts";
import type { TopicTable } from "./topic-table.ts";

/** What the row of a topic says, whether the topic is in use or not. */
export class TopicView {
  #id: number;
  #row: number;
  /** Slot in the queue table of each queue, by queue id. */
  queues: number[];
  readonly #table: TopicTable;

  /** Without a row it shows nothing, until it is turned to one. */
  constructor(table: TopicTable, id = 0, row = -1) {
    this.#table = table;
    this.#id = id;
    this.#row = row;
    this.queues = row < 0 ? [] : table.queuesOf(row);
  }

  /** Never used again. */
  get id(): number {
    return this.#id;
  }

  /** In the table; used again after the topic is dropped. */
  get row(): number {
    return this.#row;
  }

  /** Makes this a view of another topic. */
  protected turnTo(id: number, row: number): void {
    this.#id = id;
    this.#row = row;
    const only = this.#table.onlyQueueOf(row);
    if (only < 0) this.queues = this.#table.queuesOf(row);
    else {
      this.queues.length = 1;
      this.queues[0] = only;
    }
  }

  /** "<namespace>/<topic>". */
  get name(): string {
    return this.#table.name(this.#row);
  }

  get incarnation(): number {
    return this.#table.incarnation(this.#row);
  }

  set incarnation(incarnation: number) {
    this.#table.setIncarnation(this.#row, incarnation);
  }

  /** Bit n set: MessageType n is accepted. */
  get messageTypes(): number {
    return this.#table.messageTypes(this.#row);
  }

  set messageTypes(messageTypes: number) {
    this.#table.setMessageTypes(this.#row, messageTypes);
  }

  /**
   * Message groups have their place in so many queues: those the topic was opened with. Queues that were added later take
   * messages without a group, so that no group ever has messages in two queues. 0: the record that opened the topic is lost, and
   * nobody has opened it since.
   */
  get groupQueueCount(): number {
    return this.#table.groupQueueCount(this.#row);
  }

  set groupQueueCount(count: number) {
    this.#table.setGroupQueueCount(this.#row, count);
  }

  /** Position of the record that opened or last changed it: what an idempotent open waits for. */
  get openedPosition(): number {
    return this.#table.openedPosition(this.#row);
  }

  set openedPosition(position: number) {
    this.#table.setOpenedPosition(this.#row, position);
  }

  /** Lane rules that are in force, or were when messages came; undefined: none. */
  get laneRules(): TopicLaneRules | undefined {
    return this.#table.laneRules.of(this.#id);
  }

  /** Round robin for sends without a message group. A hint, not part of the derived state. */
  get nextQueue(): number {
    return this.#table.nextQueue(this.#row);
  }

  set nextQueue(queueId: number) {
    this.#table.setNextQueue(this.#row, queueId);
  }
}

/** One view for many topics, one after the other: whoever asks for the next one turns it away from the one before. */
export class LentTopic extends TopicView {
  override turnTo(id: number, row: number): void {
    super.turnTo(id, row);
  }
}
