import { apache } from "#codec/rocketmq-v2";
import type { SentMessage } from "./lane-judge.ts";

/** A number of enum MessageType. */
const transaction = 4;

export interface MessageParts {
  readonly sent: SentMessage;
  /** The property that names the lane; "": none. */
  readonly lane: string;
  /** Wall clock; undefined: now. */
  readonly dueMs: number | undefined;
  /** "": none. */
  readonly traceparent: string;
}

/** The bytes of a message as a client sends it. Its number is its id, and its body: the last four bytes. */
export function messageBytesOf(number: number, { sent, lane, dueMs, traceparent }: MessageParts): Buffer {
  const systemProperties: apache.rocketmq.v2.ISystemProperties = { messageId: `m${number}`, tag: sent.tag };
  if (sent.orderKey >= 0) systemProperties.messageGroup = sent.shareText;
  else systemProperties.keys = [sent.shareText];
  if (sent.kind === "half") systemProperties.messageType = transaction;
  if (dueMs !== undefined) {
    const seconds = Math.floor(dueMs / 1000);
    systemProperties.deliveryTimestamp = { seconds, nanos: Math.round(dueMs - 1000 * seconds) * 1_000_000 };
  }
  const userProperties: Record<string, string> = {};
  if (lane !== "") userProperties["x-popmesh-lane"] = lane;
  if (traceparent !== "") userProperties["traceparent"] = traceparent;
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32LE(number);
  const topic = { resourceNamespace: "ns", name: "t" };
  return Buffer.from(apache.rocketmq.v2.Message.encode({ topic, userProperties, systemProperties, body }).finish());
}

/** The number of a message whose bytes end there. */
export function messageNumber(bytes: Buffer, end: number): number {
  return bytes.readUInt32LE(end - 4);
}

/** A trace of its own for each message. */
export function traceparentOf(number: number): string {
  return `00-${(number + 1).toString(16).padStart(32, "0")}-00f067aa0ba902b7-01`;
}

/** One in so many messages is part of a trace that goes on. */
export function carriesTrace(number: number): boolean {
  return number % 16 === 0;
}
