import type { MeshError } from "../../proto/runtime/mesh-error.ts";

/**
 * What the rest of the broker sees of the commit log (docs/log-format.md). Positions are byte offsets from the beginning of
 * the log's life, below 2^53; they never repeat. `commit-log.ts` implements both interfaces over the storage door.
 */
export interface LogWriter {
  /**
   * Adds a record to the batch of this turn. `fill` writes exactly `length` body bytes at `at`, synchronously. Returns the
   * record's position. The batch is written at the end of the turn, then synced; a record is never in the log in part.
   * Throws `MeshError` when the log takes no more: TOO_MANY_REQUESTS for a message while `takesMessages` is false, and for
   * anything when even the reserve is used up; INTERNAL_SERVER_ERROR when the disk failed or is read-only; PAYLOAD_TOO_LARGE.
   */
  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number;
  /** False when the disk has no room for records that can be refused (messages); acks and hand-outs go on from the reserve. */
  readonly takesMessages: boolean;
  /** False when there is no room even for records that make visible what is stored: on a disk that is short there is. */
  readonly takesReleases: boolean;
  /**
   * Why nothing, or not everything, is taken now: what `append` throws. TOO_MANY_REQUESTS while there is no room,
   * INTERNAL_SERVER_ERROR on a read-only disk.
   */
  refusal(): MeshError;
  /** Position behind the last appended record. */
  readonly endPosition: number;
  /** Everything below is in the page cache: it survives `kill -9`, not a power cut. */
  readonly writtenPosition: number;
  /** Everything below is on disk. Consumers see only messages below it. */
  readonly durablePosition: number;
  /**
   * Where the segment before the next record's begins: retention keeps that as long as the record itself. What lies below may
   * be removed before a record (of at most 64 KiB) that is appended now, so a new record carries a message from there with it
   * instead of pointing at it.
   */
  readonly youngPosition: number;
  /** Calls back once `writtenPosition` / `durablePosition` has passed `position`; in order of position. */
  whenWritten(position: number, action: () => void): void;
  whenDurable(position: number, action: () => void): void;
  /** Called after each advance of the durable position. */
  onDurable: ((durablePosition: number) => void) | undefined;
}

export interface LogReader {
  /**
   * The record at a position that `append` returned. Throws `StorageError` naming the range when its bytes are damaged, and
   * `LogTrimmedError` when retention has removed it. What is not written yet (`writtenPosition`) cannot be read: `RangeError`.
   */
  read(position: number): LogRecord;
}

/** Not damage: what stood there was removed by retention. Never are other bytes given for it (B14). */
export class LogTrimmedError extends Error {
  override readonly name = "LogTrimmedError";
  readonly position: number;
  /** The log begins here now. */
  readonly begin: number;

  constructor(position: number, begin: number) {
    super(`log position ${position} was removed by retention: the log begins at ${begin}`);
    this.position = position;
    this.begin = begin;
  }
}

/** `body` is a view that is valid until the next call into the log; copy what is kept. */
export interface LogRecord {
  readonly position: number;
  readonly type: RecordType;
  readonly body: Buffer;
  /** Position of the next record or batch. */
  readonly nextPosition: number;
}

/**
 * Everything that changes the broker's state is a record. Numbers are for ever; those of later issues have their place, so
 * that a log never has to be rewritten. A broker that meets a type it does not know refuses the log (exit 78).
 */
export const RecordType = {
  TopicOpened: 1,
  TopicChanged: 2,
  TopicDropped: 3,
  GroupOpened: 4,
  GroupChanged: 5,
  GroupDropped: 6,
  Message: 10,
  /** Kinds of message that are not visible when stored. */
  TimedMessage: 11,
  HalfMessage: 12,
  Commit: 13,
  Rollback: 14,
  Recall: 15,
  Due: 16,
  CheckBack: 17,
  /** A message that waits unseen is written again at the end of the log, because its segment is about to go. */
  Carry: 18,
  /** A group reads a topic for the first time: where it starts. */
  CursorOpened: 20,
  CursorReset: 21,
  /** A hand-out of one or more messages of one queue. */
  Pop: 22,
  Ack: 23,
  /** New invisible time; also extension, hand-back and suspension. */
  Change: 24,
  /** A message leaves its group for the dead-letter queue: one record does both. */
  DeadLetter: 25,
  Redrive: 26,
  /** Which lane handles which message of a topic, from here on. */
  LaneRule: 30,
  /** Nobody consumes in a lane of a group: the base lane hands its messages out too. */
  LaneSpilled: 31,
  /** Somebody does again. */
  LaneResumed: 32,
  /** No rule names a lane of a group any more, and nothing of it is left to be handled. */
  LaneClosed: 33,
  /** The broker is drained from here on (no new messages), or not any more. */
  BrokerDrain: 35,
  /** An operator suspends all lanes of the broker, or lets them go on. */
  LanesSwitched: 36,
  /** The log begins at a later position from now on. */
  LogTrimmed: 40,
  /** The order of message groups that outlives a trim of the log; right before its LogTrimmed. */
  OrderKept: 41,
  /** The filter with which the consumers of a lane of a group read a topic from now on. */
  LaneFilter: 42,
  /** The message groups of a topic are spread over other brokers than before. */
  GroupSpread: 43,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** The types that this release reads and writes: a log that holds another one is of a newer release. */
export const knownRecordTypes: ReadonlySet<number> = new Set(Object.values(RecordType));
