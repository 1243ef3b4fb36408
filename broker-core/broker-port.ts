import type { Code } from "../proto/code.ts";
import type { LogRecord } from "./commit-log/log.ts";
import type { LogPlaces } from "./commit-log/log-places.ts";
import type { LaneCounts } from "./lane/lane-outcomes.ts";

/**
 * What the service layer asks of the broker's state machine (docs/broker-state.md). `BrokerState` implements it.
 *
 * Everything is synchronous and reads no clock: the caller passes `now`. What changes state is appended to the log and
 * applied before the call returns. When an answer may leave is the caller's business: every outcome carries the log
 * `position` it depends on, for `log.whenDurable(position)` or `log.whenWritten(position)`; `noPosition` waits for nothing.
 * Calls other than `receive` throw `MeshError` when the log takes no records; nothing has changed then but what the log has.
 */
export interface BrokerPort {
  /** Makes a topic known; ids never change or repeat. A newer incarnation drops everything of the older one. */
  openTopic(opening: TopicOpening, now: Now): Opened;
  /** Makes a group known, or replaces its policy by one of a newer generation. */
  openGroup(opening: GroupOpening, now: Now): Opened;
  /** Stores messages in one queue, in order, without a gap: all or none. */
  send(call: SendCall, now: Now): Sent;
  /**
   * Hands messages out, or parks the call for up to `waitMs`. The sink gets exactly one answer with this `ticket`: before
   * this function returns (then it returns `answered`), or later from within `onDurable`, `advance`, `ack`, `change`,
   * `receive` or `openTopic`. For a parked call the result is a handle for `cancelReceive`.
   */
  receive(call: ReceiveCall, ticket: number, now: Now): number;
  /** Where in the log a receive or a pull would look now, without doing it: a guess for reading ahead. */
  receivePlaces(call: ReceiveCall, into: LogPlaces): void;
  pullPlaces(call: PullCall, into: LogPlaces): void;
  /** Takes a parked call out without an answer by the sink. False when it is not parked any more. */
  cancelReceive(handle: number): boolean;
  /** Receipts are the ASCII bytes of receipt handles. One result per receipt, in order. */
  ack(groupId: number, receipts: readonly Uint8Array[], now: Now): Settled;
  change(groupId: number, changes: readonly ChangeCall[], now: Now): Settled;
  /** Moves held messages to the group's dead-letter queue now; one that this receipt has moved or acked already is OK. */
  deadLetter(groupId: number, receipts: readonly Uint8Array[], now: Now): Settled;
  /** Commits or rolls back a transaction, or notes that the producer does not know yet. */
  endTransaction(call: TransactionEnd, now: Now): Ended;
  /** `OrphanSink.canAsk` has become true for a topic ("<namespace>/<topic>"): what waits for that is asked soon. */
  producersCame(topic: string, now: Now): void;
  /** Takes a message back that still waits for its time. Asked again, it is answered OK again while that can be known. */
  recall(topicId: number, recallHandle: string, now: Now): Recalled;
  /**
   * Writes every message that waits unseen and lies below `position` again at the end of the log, so that the segments below
   * can go once the outcome's `position` is durable. Does a few megabytes in one call: to be called until it is finished.
   */
  carryBefore(position: number, now: Now): Carried;
  /** Says to which lite topics of a parent topic a consumer subscribes; its receives of the parent are answered from those. */
  syncLite(call: LiteSync, now: Now): LiteSynced;
  /**
   * Sidecars say whether any consumer is there in a lane of a group ("<namespace>/<group>", "<namespace>/<topic>"; what is not known here
   * is passed over). It keeps a lane live whose consumers are busy, and ends one at once whose consumers are gone; it never makes
   * one live: only a receive does (F18). May be repeated, and is: the lane may have come since.
   */
  lanePresence(group: string, topic: string, lane: string, isThere: boolean, now: Now): void;
  /** Reads a queue from an offset on; grants no lease and changes nothing. */
  pull(call: PullCall): Pulled;
  /** An offset of a queue, or a group's offset in it. */
  queryOffset(call: OffsetCall): OffsetFound;
  /** Sets a group's offset in a queue to `value`. */
  updateOffset(call: OffsetCall, now: Now): OffsetFound;
  /** To be called after each advance of the log's durable position: messages become visible, waiters are woken. */
  onDurable(durablePosition: number, now: Now): void;
  /** Ends leases and waits whose time has come and goes on with unfinished scans. */
  advance(now: Now): void;
  /** Monotonic time at which `advance` is next needed; Infinity when nothing is pending; in the past: at once. */
  nextTimerMs(): number;

  /**
   * Where the replay begins: at the position of the restored snapshot; undefined: at the beginning of the log, because there
   * was no snapshot, or because the index that it names was lost and is read from the log again.
   */
  readonly replayFrom: number | undefined;
  /** Applies a record of the log during start-up; in the log's order, from `replayFrom` on. */
  replay(record: LogRecord): void;
  /** Ends start-up: all that was replayed is durable, and calls may come. */
  goLive(now: Now): void;
  /** Log position behind the last record that this state contains. */
  readonly appliedPosition: number;
  /**
   * The derived state at `appliedPosition`, for a checkpoint. Usable at a later start only if the log still reaches that
   * position: store it after `whenDurable`.
   */
  snapshot(): Buffer;
  /** Canonical bytes of the derived state as of the last `advance`: equal states, equal bytes (B11). */
  dump(): Buffer;

  /**
   * What an operator asks or orders (docs/operator-calls.md). `parameters` is what came as JSON. A long look through the log
   * answers later, so that messages are served meanwhile.
   */
  operate(method: string, parameters: unknown, now: Now): Operated | Promise<Operated>;
  /** Figures for the admin port and metrics; one entry per (group, topic). */
  subscriptions(): SubscriptionFigures[];
  topics(): TopicFigures[];
  /** Topics with messages that wait for their time. */
  delayedMessages(): { readonly topic: string; readonly count: number }[];
  /** Topics with open transactions. */
  openTransactions(): { readonly topic: string; readonly count: number }[];
}

/** The outcome depends on no record. */
export const noPosition = -1;
/** `receive` has given its answer to the sink. */
export const answered = -1;

/** Both clocks at one moment. Leases and waits run on the monotonic one; the wall clock is only written down. */
export interface Now {
  /** Milliseconds since the machine booted. */
  readonly monotonicMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

export interface Refused {
  readonly ok: false;
  readonly code: Code;
  /** What happened, where, what to do next. */
  readonly message: string;
  /** Nothing was taken, and another broker of the topic takes it: this one is drained, or was the home of the message group. */
  readonly isMoved?: boolean;
  /** Of what is moved: durable when the answer leaves. */
  readonly position?: number;
}

export interface TopicOpening {
  /** "<namespace>/<topic>", at most 255 bytes. */
  readonly name: string;
  /** Rises when a topic of that name is deleted and created again; 0 is reserved for topics the broker opens itself. */
  readonly incarnation: number;
  /** Bit n set: MessageType n is accepted. */
  readonly messageTypes: number;
  /** 1 to `queueCountMax`. A topic's queues never become fewer. */
  readonly queueCount: number;
}

export interface GroupOpening {
  /** "<namespace>/<group>", at most 250 bytes. */
  readonly name: string;
  readonly generation: number;
  /** Hand-outs before the dead-letter queue; 0: no limit. */
  readonly attemptsMax: number;
  /** Messages in flight per topic; 0: the broker's default. */
  readonly inflightMax: number;
  readonly backoff: BackoffPolicy;
  /** Set: the group is one client instance of a broadcast group (docs/broadcast-groups.md). */
  readonly broadcast?: { readonly group: string; readonly clientId: string; readonly expiryMs: number };
}

/** Kept for those who ask; clients compute their own delays from their settings and nack with them. */
export interface BackoffPolicy {
  /** The last entry repeats; empty: exponential by the three fields below. */
  readonly delaysMs: readonly number[];
  readonly initialMs: number;
  readonly maxMs: number;
  readonly multiplier: number;
}

/** `position`: durable when the answer leaves. */
export type Opened = { readonly ok: true; readonly id: number; readonly position: number } | Refused;

export interface SendCall {
  readonly topicId: number;
  readonly laneMark: string;
  readonly bornHost: string;
  /** apache.rocketmq.v2.Message, as the client wrote them; copied into the log before `send` returns. */
  readonly messages: readonly Buffer[];
  /** Of messages of a message group: the number of the spread of message groups by which they come; left out or 0: none. */
  readonly groupSpread?: number;
  /** Another broker takes them if nothing of their message group is left here. */
  readonly isEarlierHome?: boolean;
}

/** `position`: durable when the answer leaves. */
export type Sent =
  | {
      readonly ok: true;
      readonly queueId: number;
      /** Offset of message 0; the others follow without a gap. */
      readonly firstOffset: number;
      readonly storeMs: number;
      readonly position: number;
      /** Of a half message, which has no queue and offset yet (both are 0); else "". */
      readonly transactionId: string;
      /** Of timed messages, which have no queue and offset yet (both are 0): one handle per message. */
      readonly recallHandles?: readonly string[];
    }
  | Refused;

/** `position`: durable when the answer leaves. `messageId`: of the message that was taken back, now or before. */
export type Recalled = { readonly ok: true; readonly messageId: string; readonly position: number } | Refused;

export interface TransactionEnd {
  /** "<namespace>/<topic>" of the half message. */
  readonly topic: string;
  /** As the send was answered. */
  readonly transactionId: string;
  /** A number of enum TransactionResolution; unspecified: the producer does not know yet. */
  readonly resolution: number;
  /** A number of enum TransactionSource. */
  readonly source: number;
}

/** `position`: durable when the answer leaves. */
export type Ended = { readonly ok: true; readonly position: number } | Refused;

/** `position` of the last record written; `noPosition`: there was nothing to carry. */
export interface Carried {
  readonly position: number;
  readonly isFinished: boolean;
}

/**
 * Where questions about open transactions go. Called synchronously from within `advance`; must not call back into the port.
 * What it answers decides when producers are asked, and is no part of the derived state.
 */
export interface OrphanSink {
  /** Whether a live producer of the topic ("<namespace>/<topic>") can be asked now. */
  canAsk(topic: string): boolean;
  /** Asks one of them. The question is counted already. */
  ask(orphan: OrphanedTransaction): void;
  /** A transaction was rolled back without a word of its producer. */
  givenUp(transaction: GivenUpTransaction): void;
}

export interface OrphanedTransaction {
  readonly topic: string;
  readonly transactionId: string;
  /** apache.rocketmq.v2.Message, as the client wrote it; the receiver's to keep. */
  readonly message: Buffer;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  /** Times that it was asked about, this one included. */
  readonly checks: number;
  /** The question leaves when this is written. */
  readonly position: number;
}

export interface GivenUpTransaction {
  readonly topic: string;
  /** "" when the message's bytes are damaged. */
  readonly messageId: string;
  readonly reason: "checks exhausted" | "too old";
  readonly checks: number;
}

export interface ReceiveCall {
  readonly topicId: number;
  readonly groupId: number;
  /** 1 to `batchMax`; larger is cut. */
  readonly batch: number;
  /** 1 ms to 12 h. */
  readonly invisibleMs: number;
  /** Long poll; 0: answer at once. */
  readonly waitMs: number;
  /** apache.rocketmq.v2.FilterType; 0 counts as TAG. */
  readonly filterType: number;
  readonly filter: string;
  /** At most 255 bytes; longer is cut. */
  readonly clientId: string;
  /** Same (client, group, topic, attempt id) within the lease: same batch. "": never. */
  readonly attemptId: string;
  /** Lane of the consumer. It gets what the group's lane of that name owns; base's, where the group has no such lane. */
  readonly lane: string;
  /** Stop adding messages beyond this; the first one always fits. 0: `answerBytesMax`. */
  readonly bytesMax: number;
}

/** Where answers to `receive` go. Called synchronously from within a call of the port; must not call back into it. */
export interface ReceiveSink {
  /** `handOut.count` is 0 when nothing came within the wait. The object is reused: read it before returning. */
  receiveAnswered(ticket: number, handOut: HandOut): void;
  receiveRefused(ticket: number, code: Code, message: string): void;
}

/** A batch that was handed out; a cursor over its deliveries, so that nothing is copied or allocated per message. */
export interface HandOut {
  readonly count: number;
  /** The answer leaves when this is written, or durable if `mustBeDurable`. */
  readonly position: number;
  /** There is a message in it whose turn in its message group has come: what settled the one before it must be on disk. */
  readonly mustBeDurable: boolean;
  /** Time of the lease that was granted. */
  readonly invisibleMs: number;
  readonly lane: string;
  /**
   * Reads delivery `index` from the log and sets `delivery`. False when the bytes are damaged (already reported by the
   * log): leave the delivery out; it stays in flight, comes again, and ends in the dead-letter queue.
   */
  load(index: number): boolean;
  readonly delivery: HandedDelivery;
}

/** Valid until the next `load` or call into the log. */
export interface HandedDelivery {
  /** The client's message: `bytes[messageStart, messageEnd)`. */
  readonly bytes: Buffer;
  readonly messageStart: number;
  readonly messageEnd: number;
  /** ASCII bytes of the receipt handle. */
  readonly receipt: Buffer;
  readonly queueId: number;
  readonly offset: number;
  /** 1 on the first hand-out. */
  readonly attempt: number;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  /** Of a copy: "<namespace>/<topic>/<queue id>/<offset>" of the message that it is the copy of; else "". */
  readonly mirrorOf: string;
  readonly deadLetter: DeadLetterOrigin | undefined;
}

/** Where a message of a dead-letter queue came from. */
export interface DeadLetterOrigin {
  readonly topic: string;
  readonly messageId: string;
  readonly queueId: number;
  readonly offset: number;
  readonly attempts: number;
  readonly reason: string;
  readonly lastHolder: string;
  readonly deadMs: number;
}

export interface LiteSync {
  /** The parent topic, of type LITE. */
  readonly topicId: number;
  readonly groupId: number;
  readonly clientId: string;
  readonly action: "add" | "remove" | "replace" | "clear";
  readonly liteTopics: readonly string[];
  /** Where the group begins in a lite topic that it has not read; undefined: as in any topic. */
  readonly start: LiteStart | undefined;
}

export type LiteStart =
  | { readonly kind: "last" | "min" | "max" }
  /** An offset, the last so many messages, or a time in milliseconds since 1970. */
  | { readonly kind: "offset" | "tail" | "time"; readonly value: number };

/** `position`: durable when the answer leaves. */
export type LiteSynced = { readonly ok: true; readonly position: number } | Refused;

export interface PullCall {
  readonly topicId: number;
  readonly groupId: number;
  readonly queueId: number;
  readonly offset: number;
  /** 1 to `batchMax`; larger is cut. */
  readonly batch: number;
  readonly filterType: number;
  readonly filter: string;
  /** As of a receive. */
  readonly bytesMax: number;
}

/**
 * `nextOffset`: where to go on, behind the messages and what the filter passed. `isAtEnd`: nothing is behind it yet; otherwise
 * the batch, its bytes or the budget of the scan are used up.
 */
export type Pulled =
  | {
      readonly ok: true;
      readonly messages: readonly PulledMessage[];
      readonly nextOffset: number;
      readonly isAtEnd: boolean;
    }
  | Refused;

export interface PulledMessage {
  /** The client's message. */
  readonly bytes: Buffer;
  readonly queueId: number;
  readonly offset: number;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  /** Of a copy: "<namespace>/<topic>/<queue id>/<offset>" of the message that it is the copy of; else "". */
  readonly mirrorOf: string;
  readonly deadLetter: DeadLetterOrigin | undefined;
}

export interface OffsetCall {
  /** Of a query: the first offset held, the next to be written, the first of a time, or the group's own. */
  readonly policy: "begin" | "end" | "time" | "group";
  readonly topicId: number;
  /** 0 where no group is asked about. */
  readonly groupId: number;
  readonly queueId: number;
  /** Milliseconds since 1970 with "time"; the new offset of an update. */
  readonly value: number;
}

/** `position`: durable when the answer leaves; `noPosition` for a query. */
export type OffsetFound = { readonly ok: true; readonly offset: number; readonly position: number } | Refused;

/** Numbers of popmesh.v1.ChangeKind. */
export const ChangeKind = { Renew: 1, Extend: 2, HandBack: 3, Suspend: 4 } as const;
export type ChangeKind = (typeof ChangeKind)[keyof typeof ChangeKind];

export interface ChangeCall {
  readonly receipt: Uint8Array;
  readonly kind: number;
  /** 0 to 12 h; 0: visible at once. Of no meaning for a hand-back. */
  readonly invisibleMs: number;
}

/** `position`: an ack, renewal or suspension is durable, an extension or hand-back written when its answer leaves. */
export type Settled =
  | { readonly ok: true; readonly results: readonly SettleResult[]; readonly position: number }
  | Refused;

export interface SettleResult {
  readonly code: Code;
  /** "" when the code is OK. */
  readonly message: string;
  /** The receipt that is valid from now on; undefined after an ack, a hand-back or a failure. */
  readonly receipt: Buffer | undefined;
}

/** `result` becomes JSON; `position`: durable when the answer leaves, `noPosition` when nothing was changed. */
export type Operated = { readonly ok: true; readonly result: object; readonly position: number } | Refused;

/** Lag is `ready`, `blocked` and `inFlight` together, told apart. */
export interface SubscriptionFigures {
  readonly group: string;
  readonly topic: string;
  /** Visible now: not handed out yet (matching the filter or not), or back from a lease. */
  readonly ready: number;
  /** Passed by because an earlier message of their message group was out, and still waiting for their turn. */
  readonly blocked: number;
  readonly inFlight: number;
  readonly inFlightMax: number;
  readonly deadLetters: number;
  /** Parked receives. */
  readonly waiting: number;
  /** Lanes beside the base lane; left out where no lane rule names one. */
  readonly lanes?: readonly LaneFigures[];
}

export interface LaneFigures {
  readonly lane: string;
  readonly inFlight: number;
  /** Nobody consumes in it: base consumers are given its messages too. */
  readonly isSpilled: boolean;
  /** No rule names it any more. */
  readonly isClosing: boolean;
}

/** One lane of one group in one topic, the base lane too; counts are of the run (lane/lane-outcomes.ts). */
export interface LaneOutcomeFigures extends LaneCounts {
  readonly topic: string;
  readonly group: string;
  readonly lane: string;
  readonly isSpilled: boolean;
  /** Messages of the lane that are handed out and not settled. */
  readonly inFlight: number;
  /** Age of the oldest message that the lane owns and is not done with; 0: there is none. */
  readonly lagMs: number;
}

export interface TopicFigures {
  readonly name: string;
  readonly id: number;
  readonly incarnation: number;
  readonly queueCount: number;
  /** Messages in its queues. */
  readonly messages: number;
  /** Half messages whose transactions are open. */
  readonly openTransactions: number;
  /** Messages that wait for their time, in no queue yet. */
  readonly delayed: number;
}
