import { expectBytes } from "./record-fault.ts";

/**
 * OrderKept: the message groups of one subscription that are locked or have messages waiting, as they are once the LogTrimmed
 * record that follows has taken effect. Who starts from a base image cannot know them: they come from hand-outs of messages that
 * are not in it.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  u32 count
 *     12 count x (u16 queue id, u32 group hash, f64 holder's offset or -1, u32 skipped count, f64 skipped from,
 *                 u32 queued count, queued count x f64 offset)
 */
export interface OrderKept {
  readonly groupId: number;
  readonly topicId: number;
  readonly rows: readonly KeptRow[];
}

/** A row of `GroupLockTable`. */
export interface KeptRow {
  readonly queueId: number;
  readonly groupHash: number;
  /** Of the message that is out; `noHolder`: none is. */
  readonly holderOffset: number;
  readonly skippedCount: number;
  /** Of no meaning when nothing was skipped. */
  readonly skippedFrom: number;
  /** Redriven messages that wait, in their order. */
  readonly queued: readonly number[];
}

export const noHolder = -1;

const fixedBytes = 12;
const rowBytes = 30;

export function orderKeptBytes({ rows }: OrderKept): number {
  return rows.reduce((sum, { queued }) => sum + rowBytes + 8 * queued.length, fixedBytes);
}

export function writeOrderKept(kept: OrderKept, into: Buffer, start: number): void {
  into.writeUInt32LE(kept.groupId, start);
  into.writeUInt32LE(kept.topicId, start + 4);
  into.writeUInt32LE(kept.rows.length, start + 8);
  let at = start + fixedBytes;
  for (const row of kept.rows) {
    into.writeUInt16LE(row.queueId, at);
    into.writeUInt32LE(row.groupHash, at + 2);
    into.writeDoubleLE(row.holderOffset, at + 6);
    into.writeUInt32LE(row.skippedCount, at + 14);
    into.writeDoubleLE(row.skippedFrom, at + 18);
    into.writeUInt32LE(row.queued.length, at + 26);
    at += rowBytes;
    for (const offset of row.queued) at = into.writeDoubleLE(offset, at);
  }
}

export function readOrderKept(from: Buffer, start: number, end: number): OrderKept {
  expectBytes("order-kept", start, end, fixedBytes);
  const rows: KeptRow[] = [];
  let at = start + fixedBytes;
  for (let left = from.readUInt32LE(start + 8); left > 0; left--) {
    expectBytes("order-kept", at, end, rowBytes);
    const queuedCount = from.readUInt32LE(at + 26);
    expectBytes("order-kept", at, end, rowBytes + 8 * queuedCount);
    rows.push({
      queueId: from.readUInt16LE(at),
      groupHash: from.readUInt32LE(at + 2),
      holderOffset: from.readDoubleLE(at + 6),
      skippedCount: from.readUInt32LE(at + 14),
      skippedFrom: from.readDoubleLE(at + 18),
      queued: Array.from({ length: queuedCount }, (_, i) => from.readDoubleLE(at + rowBytes + 8 * i)),
    });
    at += rowBytes + 8 * queuedCount;
  }
  return { groupId: from.readUInt32LE(start), topicId: from.readUInt32LE(start + 4), rows };
}
