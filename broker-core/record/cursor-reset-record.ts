import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * CursorReset: a group goes on at other offsets in some queues of a topic. What it has in hand there is forgotten: the messages
 * from the new offset on come again, those before it do not.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  f64 wall ms
 *     16 u16 count
 *     18 count x (u16 queue id, u53 next offset)
 */
export interface CursorReset {
  readonly groupId: number;
  readonly topicId: number;
  readonly wallMs: number;
  readonly queues: readonly { readonly queueId: number; readonly offset: number }[];
}

const fixedBytes = 18;
const entryBytes = 10;

export function cursorResetBytes(reset: CursorReset): number {
  return fixedBytes + entryBytes * reset.queues.length;
}

export function writeCursorReset(reset: CursorReset, into: Buffer, at: number): void {
  into.writeUInt32LE(reset.groupId, at);
  into.writeUInt32LE(reset.topicId, at + 4);
  into.writeDoubleLE(reset.wallMs, at + 8);
  into.writeUInt16LE(reset.queues.length, at + 16);
  let to = at + fixedBytes;
  for (const { queueId, offset } of reset.queues) {
    into.writeUInt16LE(queueId, to);
    writeUint53(into, to + 2, offset);
    to += entryBytes;
  }
}

export function readCursorReset(from: Buffer, start: number, end: number): CursorReset {
  expectBytes("cursor-reset", start, end, fixedBytes);
  const count = from.readUInt16LE(start + 16);
  expectBytes("cursor-reset", start, end, fixedBytes + entryBytes * count);
  return {
    groupId: from.readUInt32LE(start),
    topicId: from.readUInt32LE(start + 4),
    wallMs: from.readDoubleLE(start + 8),
    queues: Array.from({ length: count }, (_, i) => {
      const at = start + fixedBytes + entryBytes * i;
      return { queueId: from.readUInt16LE(at), offset: readUint53(from, at + 2) };
    }),
  };
}
