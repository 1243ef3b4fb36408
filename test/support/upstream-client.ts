import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import type {
  Delivery,
  GroupRef,
  OrphanedTransaction,
  TopicRef,
  Upstream,
  UpstreamDone,
  UpstreamOffset,
  UpstreamOffsetAnswer,
  UpstreamPull,
  UpstreamPullAnswer,
  UpstreamRecalled,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSend,
  UpstreamSendAnswer,
} from "../../sidecar/upstream/upstream.ts";

const callMsMax = 10_000;

const transactional = 4;
const delayed = 3;

/** Messages of type NORMAL and FIFO. */
export function topicRef(name: string, parts: Partial<TopicRef> = {}): TopicRef {
  return { name: `default/${name}`, incarnation: 1, messageTypes: 0b110, queueCount: 4, ...parts };
}

export function groupRef(name: string, parts: Partial<GroupRef> = {}): GroupRef {
  const backoff = { kind: "list", delaysMs: [1_000, 5_000] } as const;
  return { name: `default/${name}`, generation: 1, attemptsMax: 16, backoff, inflightMax: 0, ...parts };
}

/** A message as a client encodes it. */
export function encodedMessage(
  id: string,
  parts: {
    readonly body?: Uint8Array | string;
    readonly tag?: string;
    readonly messageGroup?: string;
    readonly keys?: readonly string[];
    readonly isHalf?: boolean;
    readonly recoveryMs?: number;
    /** When it is delivered, ms since 1970. */
    readonly deliveryMs?: number;
  } = {},
): Uint8Array {
  const { Message } = apache.rocketmq.v2;
  const systemProperties: apache.rocketmq.v2.ISystemProperties = { messageId: id, messageType: 1 };
  if (parts.tag !== undefined) systemProperties.tag = parts.tag;
  if (parts.messageGroup !== undefined) {
    systemProperties.messageGroup = parts.messageGroup;
    systemProperties.messageType = 2;
  }
  if (parts.keys !== undefined) systemProperties.keys = [...parts.keys];
  if (parts.isHalf === true) systemProperties.messageType = transactional;
  if (parts.recoveryMs !== undefined) {
    const seconds = Math.floor(parts.recoveryMs / 1_000);
    systemProperties.orphanedTransactionRecoveryDuration = { seconds, nanos: (parts.recoveryMs % 1_000) * 1e6 };
  }
  if (parts.deliveryMs !== undefined) {
    const seconds = Math.floor(parts.deliveryMs / 1_000);
    systemProperties.deliveryTimestamp = { seconds, nanos: (parts.deliveryMs % 1_000) * 1e6 };
    systemProperties.messageType = delayed;
  }
  return Message.encode({
    topic: { name: "t" },
    systemProperties,
    userProperties: { origin: "test" },
    body: typeof parts.body === "object" ? parts.body : Buffer.from(parts.body ?? `body of ${id}`),
  }).finish();
}

export function messageIdOf(delivery: Delivery): string {
  return apache.rocketmq.v2.Message.decode(delivery.message).systemProperties?.messageId ?? "";
}

/** "" for none. */
export function messageGroupOf(delivery: Delivery): string {
  return apache.rocketmq.v2.Message.decode(delivery.message).systemProperties?.messageGroup ?? "";
}

/** The upstream port as promises, with what most tests do not care about filled in. */
export class UpstreamClient {
  readonly upstream: Upstream;

  constructor(upstream: Upstream) {
    this.upstream = upstream;
  }

  send(
    topic: TopicRef,
    messages: readonly Uint8Array[],
    parts: Partial<UpstreamSend> = {},
  ): Promise<UpstreamSendAnswer> {
    const request = { topic, laneMark: "", bornHost: "127.0.0.1", messages, ...parts };
    return new Promise((resolve) => this.upstream.send(request, deadline(callMsMax), resolve));
  }

  /** Sends one message and requires success. */
  async store(
    topic: TopicRef,
    id: string,
    parts?: Parameters<typeof encodedMessage>[1],
  ): Promise<UpstreamSendAnswer & { ok: true }> {
    const answer = await this.send(topic, [encodedMessage(id, parts)]);
    assert.ok(answer.ok, answer.ok ? "" : answer.message);
    return answer;
  }

  receive(
    topic: TopicRef,
    group: GroupRef,
    parts: Partial<UpstreamReceive> = {},
    deadlineMs = (parts.waitMs ?? 0) + callMsMax,
  ): Promise<UpstreamReceiveAnswer> {
    return this.receiveCancellable(topic, group, parts, deadlineMs).answer;
  }

  receiveCancellable(
    topic: TopicRef,
    group: GroupRef,
    parts: Partial<UpstreamReceive> = {},
    deadlineMs = (parts.waitMs ?? 0) + callMsMax,
  ): { readonly answer: Promise<UpstreamReceiveAnswer>; readonly cancel: () => void } {
    let cancel = (): void => {};
    const answer = new Promise<UpstreamReceiveAnswer>((resolve) => {
      cancel = this.upstream.receive(receiveRequest(topic, group, parts), deadline(deadlineMs), resolve);
    });
    return { answer, cancel };
  }

  /** Receives and requires success. */
  async take(topic: TopicRef, group: GroupRef, parts: Partial<UpstreamReceive> = {}): Promise<readonly Delivery[]> {
    const answer = await this.receive(topic, group, parts);
    assert.ok(answer.ok, answer.ok ? "" : answer.message);
    return answer.deliveries;
  }

  ack(group: GroupRef, ...receipts: readonly string[]): Promise<UpstreamResults> {
    return new Promise((resolve) => this.upstream.ack({ group, receipts }, deadline(callMsMax), resolve));
  }

  pull(
    topic: TopicRef,
    group: GroupRef,
    queueId: number,
    offset: number,
    parts: Partial<UpstreamPull> = {},
  ): Promise<UpstreamPullAnswer> {
    const whole = { batch: 32, waitMs: 0, filterType: 1, filter: "*", bytesMax: 0, ...parts };
    const request = { topic, group, queueId, offset, ...whole };
    return new Promise((resolve) => this.upstream.pull(request, deadline(whole.waitMs + callMsMax), resolve));
  }

  offset(request: UpstreamOffset): Promise<UpstreamOffsetAnswer> {
    return new Promise((resolve) => this.upstream.offset(request, deadline(callMsMax), resolve));
  }

  deadLetter(group: GroupRef, ...receipts: readonly string[]): Promise<UpstreamResults> {
    return new Promise((resolve) => this.upstream.deadLetter({ group, receipts }, deadline(callMsMax), resolve));
  }

  change(
    group: GroupRef,
    receipt: string,
    kind: "renew" | "extend" | "hand-back" | "suspend",
    invisibleMs: number,
  ): Promise<UpstreamResults> {
    const changes = [{ receipt, kind, invisibleMs }];
    return new Promise((resolve) => this.upstream.change({ group, changes }, deadline(callMsMax), resolve));
  }

  /** Sends one half message and requires success. */
  async begin(topic: TopicRef, id: string, parts?: Parameters<typeof encodedMessage>[1]): Promise<string> {
    const { transactionId } = await this.store(topic, id, { ...parts, isHalf: true });
    assert.notEqual(transactionId, "");
    return transactionId;
  }

  endTransaction(
    topic: TopicRef,
    transactionId: string,
    resolution: "COMMIT" | "ROLLBACK" | "UNKNOWN",
  ): Promise<UpstreamDone> {
    const number = { UNKNOWN: 0, COMMIT: 1, ROLLBACK: 2 }[resolution];
    const request = { topic: topic.name, transactionId, resolution: number, source: 1 };
    return new Promise((resolve) => this.upstream.endTransaction(request, deadline(callMsMax), resolve));
  }

  recall(topic: TopicRef, recallHandle: string): Promise<UpstreamRecalled> {
    return new Promise((resolve) => this.upstream.recall({ topic, recallHandle }, deadline(callMsMax), resolve));
  }

  /** Questions about open transactions that came. */
  orphans(): OrphanedTransaction[] {
    const orphans: OrphanedTransaction[] = [];
    this.upstream.onOrphan = (orphan) => orphans.push(orphan);
    return orphans;
  }

  /** The codes of an ack or change that reached the broker. */
  static codes(results: UpstreamResults): number[] {
    assert.ok(results.ok, results.ok ? "" : results.message);
    return results.results.map((result) => result.code);
  }
}

export function receiveRequest(
  topic: TopicRef,
  group: GroupRef,
  parts: Partial<UpstreamReceive> = {},
): UpstreamReceive {
  return {
    ...{ topic, group, batch: 32, invisibleMs: 30_000, waitMs: 2_000, filterType: 1, filter: "*" },
    ...{ clientId: "client", attemptId: "", lane: "base", bytesMax: 0, ...parts },
  };
}

/** `ms` from now on the clock of the machine, as `NodeClock` tells it. */
export function deadline(ms: number): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1000 + nanos / 1e6 + ms;
}
