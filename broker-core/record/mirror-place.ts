import { readUint53, writeUint53 } from "./fixed-bytes.ts";

/**
 * Where the copy of a message stands in the topic that gets copies. In the record that makes the message visible:
 *
 *     0  u32 topic id
 *     4  u16 queue id
 *     6  u53 queue offset
 */
export interface MirrorPlace {
  readonly topicId: number;
  readonly queueId: number;
  readonly offset: number;
}

export const mirrorPlaceBytes = 14;

export function writeMirrorPlace(into: Buffer, at: number, topicId: number, queueId: number, offset: number): void {
  into.writeUInt32LE(topicId, at);
  into.writeUInt16LE(queueId, at + 4);
  writeUint53(into, at + 6, offset);
}

export const placeTopicId = (from: Buffer, at: number): number => from.readUInt32LE(at);
export const placeQueueId = (from: Buffer, at: number): number => from.readUInt16LE(at + 4);
export const placeOffset = (from: Buffer, at: number): number => readUint53(from, at + 6);
