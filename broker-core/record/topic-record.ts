import { readShortText, readUint53, shortTextBytes, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * TopicOpened and TopicChanged:
 *
 *     0  u32 topic id
 *     4  u16 queue count
 *     6  u16 0
 *     8  u32 message types
 *     12 u53 incarnation
 *     20 text name
 *
 * TopicDropped: u32 topic id. An id is never used again, so it names the incarnation.
 */
export interface TopicRecord {
  readonly topicId: number;
  readonly queueCount: number;
  readonly messageTypes: number;
  readonly incarnation: number;
  readonly name: string;
}

const fixedBytes = 20;

export function topicRecordBytes(topic: TopicRecord): number {
  return fixedBytes + shortTextBytes(topic.name);
}

export function writeTopicRecord(topic: TopicRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(topic.topicId, at);
  into.writeUInt16LE(topic.queueCount, at + 4);
  into.writeUInt16LE(0, at + 6);
  into.writeUInt32LE(topic.messageTypes, at + 8);
  writeUint53(into, at + 12, topic.incarnation);
  writeShortText(into, at + 20, topic.name);
}

export function readTopicRecord(from: Buffer, start: number, end: number): TopicRecord {
  expectBytes("topic", start, end, fixedBytes + 1);
  return {
    topicId: from.readUInt32LE(start),
    queueCount: from.readUInt16LE(start + 4),
    messageTypes: from.readUInt32LE(start + 8),
    incarnation: readUint53(from, start + 12),
    name: readShortText(from, start + 20),
  };
}

export const topicDroppedBytes = 4;

export function writeTopicDropped(topicId: number, into: Buffer, at: number): void {
  into.writeUInt32LE(topicId, at);
}

export function readTopicDropped(from: Buffer, start: number, end: number): number {
  expectBytes("topic-dropped", start, end, topicDroppedBytes);
  return from.readUInt32LE(start);
}
