import { readShortText, readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * CursorOpened: where a group starts in a topic that it reads for the first time.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  f64 wall ms
 *     16 u16 count
 *     18 count x u53 first offset, by queue id
 *     .. text group name, text topic name: so that no single lost record takes the only word of who read what. Left out by early
 *        versions.
 */
export interface CursorOpened {
  readonly groupId: number;
  readonly topicId: number;
  readonly wallMs: number;
  readonly offsets: readonly number[];
  /** "": not said. */
  readonly groupName: string;
  readonly topicName: string;
}

const fixedBytes = 18;

export function cursorOpenedBytes(opened: CursorOpened): number {
  const names = shortTextBytes(opened.groupName) + shortTextBytes(opened.topicName);
  return fixedBytes + 8 * opened.offsets.length + names;
}

export function writeCursorOpened(opened: CursorOpened, into: Buffer, at: number): void {
  into.writeUInt32LE(opened.groupId, at);
  into.writeUInt32LE(opened.topicId, at + 4);
  into.writeDoubleLE(opened.wallMs, at + 8);
  into.writeUInt16LE(opened.offsets.length, at + 16);
  for (let i = 0; i < opened.offsets.length; i++) writeUint53(into, at + fixedBytes + 8 * i, opened.offsets[i]!);
  const to = writeShortText(into, at + fixedBytes + 8 * opened.offsets.length, opened.groupName);
  writeShortText(into, to, opened.topicName);
}

export function readCursorOpened(from: Buffer, start: number, end: number): CursorOpened {
  expectBytes("cursor-opened", start, end, fixedBytes);
  const count = from.readUInt16LE(start + 16);
  const namesAt = start + fixedBytes + 8 * count;
  expectBytes("cursor-opened", start, end, namesAt - start);
  const hasNames = namesAt + 2 <= end;
  return {
    groupId: from.readUInt32LE(start),
    topicId: from.readUInt32LE(start + 4),
    wallMs: from.readDoubleLE(start + 8),
    offsets: Array.from({ length: count }, (_, i) => readUint53(from, start + fixedBytes + 8 * i)),
    groupName: hasNames ? readShortText(from, namesAt) : "",
    topicName: hasNames ? readShortText(from, shortTextEnd(from, namesAt)) : "",
  };
}
