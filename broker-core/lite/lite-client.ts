import type { PopRequest } from "../pop/waiter-table.ts";

/** A receive of a lite consumer that waits for any of its lite topics. */
export interface LitePoll {
  readonly client: LiteClient;
  readonly request: PopRequest;
  /** Name outside: below `answered`. */
  readonly handle: number;
}

/**
 * One lite consumer: its lite topics of one parent, in one group. A hint of this run: clients say their whole set anew every 30 s, and
 * one that does not for a while is forgotten.
 */
export class LiteClient {
  readonly key: string;
  readonly groupId: number;
  readonly parentId: number;
  /** Ids of the topics, by lite topic. */
  readonly topics = new Map<string, number>();
  /** Topics that may have something, in the order in which they came; looked at in turn, so that a busy one starves none. */
  readonly ready = new Set<number>();
  /** Parked receives, oldest first. */
  readonly polls: LitePoll[] = [];
  seenMs: number;

  constructor(key: string, groupId: number, parentId: number, nowMs: number) {
    this.key = key;
    this.groupId = groupId;
    this.parentId = parentId;
    this.seenMs = nowMs;
  }
}
