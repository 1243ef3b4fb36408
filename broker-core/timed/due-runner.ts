import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Now } from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { placeOfCopy } from "../dispatch/mirror-choice.ts";
import { nextQueueOf, queueOfGroup } from "../dispatch/queue-choice.ts";
import { laneKeyOfRecord } from "../lane/message-lane.ts";
import { messageBodyStart, messageGroupHash, messageTagHash } from "../record/message-record.ts";
import type { MirrorPlace } from "../record/mirror-place.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import { LentMessage } from "./lent-message.ts";
import type { TimedJournal } from "./timed-journal.ts";
import { none } from "./waiting-table.ts";

/** Messages released in one `advance`: some milliseconds, so that a million due at once hold up nobody. */
const releasedMax = 256;
/** Bytes of messages carried into Due records in one `advance`; the last one may exceed it. */
const carriedBytesMax = 2 * 1024 * 1024;
/** How soon a jump of the wall clock is noticed. */
const lookMsMax = 250;
/** Looked at again this soon when the log took nothing. */
const retryMs = 20;
/** And this soon when the first message that is due was stored in this turn, and cannot be read before it is written. */
const unwrittenRetryMs = 1;

const nothing = new Uint8Array(0);

/**
 * Releases messages whose time has come: each gets a queue and an offset, as a send would have given it, and is visible when
 * that is durable. Due times are compared with the wall clock that comes with the call and with nothing else, so a message is
 * never early by it, whichever way it jumped (B8, B15); the monotonic clock only tells when to look again.
 */
export class DueRunner {
  readonly #tables: BrokerTables;
  readonly #log: LogReader & LogWriter;
  readonly #journal: Journal;
  readonly #records: TimedJournal;
  /** Both clocks at the last look. */
  #lookedMonotonicMs: number;
  #lookedWallMs: number;
  /** What ended the last look before all that was due was released. */
  #stoppedBy: "nothing" | "budget" | "unwritten" | "log" = "nothing";
  #carriedBytes = 0;
  readonly #copy = new LentMessage();

  constructor(tables: BrokerTables, log: LogReader & LogWriter, journal: Journal, records: TimedJournal) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#records = records;
    this.#lookedMonotonicMs = tables.clock.startMonotonicMs;
    this.#lookedWallMs = tables.clock.startWallMs;
  }

  advance(now: Now): void {
    const { waiting } = this.#tables;
    this.#lookedMonotonicMs = now.monotonicMs;
    this.#lookedWallMs = now.wallMs;
    this.#stoppedBy = "nothing";
    this.#carriedBytes = 0;
    for (let released = 0; ; released++) {
      const row = waiting.first();
      if (row === none || waiting.dueMs(row) > now.wallMs) return;
      if (released === releasedMax || this.#carriedBytes >= carriedBytesMax) {
        this.#stoppedBy = "budget";
        return;
      }
      if (!this.#journal.takesReleases) {
        this.#stoppedBy = "log";
        return;
      }
      if (waiting.position(row) >= this.#log.writtenPosition) {
        this.#stoppedBy = "unwritten";
        return;
      }
      if (!this.#tryRelease(row, now)) {
        this.#stoppedBy = "log";
        return;
      }
    }
  }

  /** Monotonic time at which `advance` is next needed. */
  nextTimerMs(): number {
    const { waiting } = this.#tables;
    const row = waiting.first();
    if (row === none) return Number.POSITIVE_INFINITY;
    if (this.#stoppedBy === "budget") return Number.NEGATIVE_INFINITY;
    if (this.#stoppedBy === "unwritten") return this.#lookedMonotonicMs + unwrittenRetryMs;
    if (this.#stoppedBy === "log") return this.#lookedMonotonicMs + retryMs;
    const leftMs = waiting.dueMs(row) - this.#lookedWallMs;
    return this.#lookedMonotonicMs + Math.min(leftMs, lookMsMax);
  }

  /** False when the log takes nothing now: the message goes on waiting. */
  #tryRelease(row: number, now: Now): boolean {
    try {
      this.#release(row, now);
      return true;
    } catch (error) {
      if (error instanceof MeshError) return false;
      throw error;
    }
  }

  #release(row: number, now: Now): void {
    const { waiting, topics, queues } = this.#tables;
    const topic = topics.byId(waiting.topicId(row))!;
    const position = waiting.position(row);
    let tagHash = 0;
    let groupHash = 0;
    let messageBytes = 0;
    let laneKey = 0;
    let mirror: MirrorPlace | undefined;
    let carried: Uint8Array = nothing;
    try {
      const { body, start } = readStoredMessage(this.#log, position);
      tagHash = messageTagHash(body, start);
      groupHash = messageGroupHash(body, start);
      messageBytes = body.length - messageBodyStart(body, start);
      if (topic.laneRules !== undefined) laneKey = laneKeyOfRecord(topic.laneRules.current, body, start, body.length);
      mirror = placeOfCopy(this.#tables, topic, body, start, body.length);
      if (position < this.#log.youngPosition) carried = this.#copy.take(body, start);
    } catch (error) {
      // Bytes that are damaged come out all the same: without content, and so into the dead-letter queue, where it is seen (B10).
      if (!isUnreadable(error)) throw error;
    }
    const queueId = groupHash === 0 ? nextQueueOf(topic) : queueOfGroup(groupHash, topic.groupQueueCount);
    this.#records.due(
      {
        topicId: topic.id,
        queueId,
        cause: 0,
        offset: queues.endOffset(topic.queues[queueId]!),
        releasedMs: Math.floor(now.wallMs),
        number: waiting.number(row),
        messagePosition: position,
        messageBytes,
        tagHash,
        groupHash,
        laneKey,
        mirror,
      },
      carried,
    );
    this.#carriedBytes += carried.length;
  }
}
