import type { Code } from "../../proto/code.ts";

/**
 * The upstream port: what the sidecar asks of a broker, whatever the broker is (docs/upstream-port.md). Our broker core
 * behind frames is one driver; Apache RocketMQ behind Remoting will be another; both pass the same behaviour suite.
 *
 * Answers come by callback: at 100 000 calls/s a promise per call is the larger cost. Every callback is called exactly
 * once, never before the function that took it has returned, and always before `deadlineMs`.
 */
export interface Upstream {
  /** Name of the broker group; the first field of every receipt it gives out. */
  readonly brokerName: string;
  /** Requests not answered yet, without parked receives: what least-request balancing compares. */
  readonly openRequestCount: number;
  /** False while there is no working connection. Calls are then answered `unavailable` at once or when reconnected. */
  readonly isReady: boolean;
  send(request: UpstreamSend, deadlineMs: number, done: (answer: UpstreamSendAnswer) => void): void;
  /** Returns a function that gives the wait up; the callback is called all the same. */
  receive(request: UpstreamReceive, deadlineMs: number, done: (answer: UpstreamReceiveAnswer) => void): () => void;
  ack(request: UpstreamAck, deadlineMs: number, done: (answer: UpstreamResults) => void): void;
  change(request: UpstreamChange, deadlineMs: number, done: (answer: UpstreamResults) => void): void;
  /** Moves held messages to the group's dead-letter queue; may be repeated like an ack. */
  deadLetter(request: UpstreamAck, deadlineMs: number, done: (answer: UpstreamResults) => void): void;
  /** Commits or rolls back a transaction. May be repeated: it happens once. */
  endTransaction(request: UpstreamTransactionEnd, deadlineMs: number, done: (answer: UpstreamDone) => void): void;
  /** Takes back a message that waits for its time. May be repeated: it happens once. */
  recall(request: UpstreamRecall, deadlineMs: number, done: (answer: UpstreamRecalled) => void): void;
  /**
   * Says whether this sidecar has a live producer of a topic ("<namespace>/<topic>"): the broker asks only such sidecars about
   * open transactions. The driver keeps it and tells it on every new connection.
   */
  announceProducer(topic: string, isLive: boolean): void;
  /**
   * Says which consumers are there behind this sidecar, in its lane: all of them, each time. The driver keeps it, tells it on every
   * new connection, and repeats it as often as the broker needs it. Brokers without lanes are not told.
   */
  announceConsumers(consumers: readonly LaneConsumer[]): void;
  /** Called when the broker asks about an open transaction. Nothing is answered: a producer ends it, or it is asked again. */
  onOrphan: ((orphan: OrphanedTransaction) => void) | undefined;
  /** Says to which lite topics of a topic of type LITE a client subscribes. May be repeated. */
  syncLite(request: UpstreamLiteSync, deadlineMs: number, done: (answer: UpstreamDone) => void): void;
  /** Reads a queue by offset, without a lease. */
  pull(request: UpstreamPull, deadlineMs: number, done: (answer: UpstreamPullAnswer) => void): void;
  /** Looks an offset up, or sets a group's. */
  offset(request: UpstreamOffset, deadlineMs: number, done: (answer: UpstreamOffsetAnswer) => void): void;
  /** Waits for open requests up to `graceMs`, then closes. */
  close(graceMs: number): Promise<void>;
}

/** A group that consumes a topic here. */
export interface LaneConsumer {
  /** "<namespace>/<group>", as in `GroupRef.name`. */
  readonly group: string;
  /** "<namespace>/<topic>". */
  readonly topic: string;
}

/** A topic as a driver must know it before first use. From the TopicRoute of the control plane. */
export interface TopicRef {
  /** "<namespace>/<topic>". */
  readonly name: string;
  readonly incarnation: number;
  /** Bit n set: MessageType n is accepted. */
  readonly messageTypes: number;
  readonly queueCount: number;
}

/** A consumer group as a driver must know it before first use. From the ConsumerGroupPolicy of the control plane. */
export interface GroupRef {
  /** "<namespace>/<group>". */
  readonly name: string;
  readonly generation: number;
  readonly attemptsMax: number;
  readonly backoff: BackoffPolicy;
  readonly inflightMax: number;
  /** Set: one client instance of a broadcast group, with a name of its own. */
  readonly broadcast?: { readonly group: string; readonly clientId: string; readonly expiryMs: number };
}

/** Delays between hand-outs: a list whose last entry repeats, or exponential growth. */
export type BackoffPolicy =
  | { readonly kind: "list"; readonly delaysMs: readonly number[] }
  | { readonly kind: "exponential"; readonly initialMs: number; readonly maxMs: number; readonly multiplier: number };

export interface UpstreamSend {
  readonly topic: TopicRef;
  readonly laneMark: string;
  readonly bornHost: string;
  /** apache.rocketmq.v2.Message, as the client wrote them; views that are valid until `send` returns. */
  readonly messages: readonly Uint8Array[];
  /** Of a message group that is spread anew: the number of the spread (`GroupSpread`); else left out. */
  readonly groupSpread?: number;
  /** Another broker takes it if nothing of its message group is left here. */
  readonly isEarlierHome?: boolean;
}

/**
 * Where an attempt may have got to when it failed (S2). "not-sent": provably nothing was taken, another broker may be
 * tried; "moved": the same, by the broker's own word: it is drained, or the message group has its home elsewhere; "unknown": it may be stored; "refused": the broker says no,
 * and why.
 */
export type FailureReach = "not-sent" | "moved" | "unknown" | "refused";

export interface UpstreamFailure {
  readonly ok: false;
  readonly code: Code;
  readonly message: string;
  readonly reach: FailureReach;
}

export type UpstreamSendAnswer =
  | {
      readonly ok: true;
      readonly queueId: number;
      readonly firstOffset: number;
      readonly storeMs: number;
      /** Of a half message, which has no queue and offset yet (both are 0); else "". Begins as receipts do. */
      readonly transactionId: string;
      /** Of timed messages, which have no queue and offset yet (both are 0): one handle per message; else none. */
      readonly recallHandles?: readonly string[];
    }
  | UpstreamFailure;

export interface UpstreamRecall {
  readonly topic: TopicRef;
  readonly recallHandle: string;
}

/** The id of the message that was taken back. */
export type UpstreamRecalled = { readonly ok: true; readonly messageId: string } | UpstreamFailure;

export interface UpstreamTransactionEnd {
  /** "<namespace>/<topic>" of the half message. */
  readonly topic: string;
  readonly transactionId: string;
  /** A number of enum TransactionResolution. */
  readonly resolution: number;
  /** A number of enum TransactionSource. */
  readonly source: number;
}

/** The answer to a call that gives nothing but success. */
export type UpstreamDone = { readonly ok: true } | UpstreamFailure;

/** An open transaction whose producer has not said what became of it. */
export interface OrphanedTransaction {
  /** "<namespace>/<topic>". */
  readonly topic: string;
  readonly transactionId: string;
  /** apache.rocketmq.v2.Message as stored; the receiver's to keep. */
  readonly message: Buffer;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly lane: string;
}

export interface UpstreamReceive {
  readonly topic: TopicRef;
  readonly group: GroupRef;
  readonly batch: number;
  readonly invisibleMs: number;
  readonly waitMs: number;
  readonly filterType: number;
  readonly filter: string;
  readonly clientId: string;
  readonly attemptId: string;
  readonly lane: string;
  readonly bytesMax: number;
}

/** One message handed out. `message` and `receipt` are the receiver's to keep. */
export interface Delivery {
  readonly message: Buffer;
  readonly receipt: string;
  readonly queueId: number;
  readonly offset: number;
  readonly attempt: number;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly lane: string;
  /** Of a copy: "<namespace>/<topic>/<queue id>/<offset>" of its original; else "". */
  readonly mirrorOf: string;
  readonly deadLetter: DeadLetterOrigin | undefined;
}

export interface DeadLetterOrigin {
  readonly topic: string;
  readonly messageId: string;
}

/** No message within the wait is `ok` with an empty list. */
export type UpstreamReceiveAnswer = { readonly ok: true; readonly deliveries: readonly Delivery[] } | UpstreamFailure;

export interface UpstreamLiteSync {
  /** The parent topic. */
  readonly topic: TopicRef;
  readonly group: GroupRef;
  readonly clientId: string;
  readonly action: "add" | "remove" | "replace" | "clear";
  readonly liteTopics: readonly string[];
  /** Where a group begins in a lite topic that it has not read; undefined: as in any topic. */
  readonly start: UpstreamLiteStart | undefined;
}

export type UpstreamLiteStart =
  | { readonly kind: "last" | "min" | "max" }
  | { readonly kind: "offset" | "tail" | "time"; readonly value: number };

export interface UpstreamPull {
  readonly topic: TopicRef;
  readonly group: GroupRef;
  readonly queueId: number;
  readonly offset: number;
  readonly batch: number;
  readonly waitMs: number;
  readonly filterType: number;
  readonly filter: string;
  readonly bytesMax: number;
}

/** The deliveries have neither receipt ("") nor attempt. `nextOffset`: where to go on. */
export type UpstreamPullAnswer =
  | { readonly ok: true; readonly deliveries: readonly Delivery[]; readonly nextOffset: number }
  | UpstreamFailure;

/** Of a queue: the first offset held, the next to be written, or the first stored at a time. Of a group: its own, or a new one. */
export type UpstreamOffset = {
  readonly topic: TopicRef;
  readonly queueId: number;
} & (
  | { readonly policy: "begin" | "end" }
  | { readonly policy: "time"; readonly timeMs: number }
  | { readonly policy: "group"; readonly group: GroupRef }
  | { readonly policy: "set-group"; readonly group: GroupRef; readonly offset: number }
);

export type UpstreamOffsetAnswer = { readonly ok: true; readonly offset: number } | UpstreamFailure;

export interface UpstreamAck {
  readonly group: GroupRef;
  readonly receipts: readonly string[];
}

/** See ChangeKind of proto/popmesh/v1/frame.proto. */
export type ChangeKind = "renew" | "extend" | "hand-back" | "suspend";

export interface UpstreamChange {
  readonly group: GroupRef;
  readonly changes: readonly { readonly receipt: string; readonly kind: ChangeKind; readonly invisibleMs: number }[];
}

/** One result per entry, in order; `receipt` is the one valid from now on ("" after an ack). */
export type UpstreamResults =
  | {
      readonly ok: true;
      readonly results: readonly { readonly code: Code; readonly message: string; readonly receipt: string }[];
    }
  | UpstreamFailure;
