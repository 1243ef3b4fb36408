import { crc32 } from "../commit-log/crc32.ts";
import { blockEntriesMax, entryBytes } from "./index-entry.ts";

/**
 * A block of the index on disk: entries of one queue with consecutive offsets.
 *
 *     0  u32 CRC-32 of what follows, seeded with the address
 *     4  u32 count of entries
 *     8  u32 slot of the queue
 *     12 u32 0
 *     16 f64 offset of the first entry
 *     24 f64 address of the block with the entries before, where the queue keeps its blocks in a chain; -1: none
 *     32 entries, 24 bytes each (index-entry.ts)
 */
export const blockHeadBytes = 32;
export const blockBytesMax = blockHeadBytes + blockEntriesMax * entryBytes;

export function blockBytes(count: number): number {
  return blockHeadBytes + count * entryBytes;
}

/** Completes a block whose entries stand at `at + blockHeadBytes` already. */
export function sealBlock(
  into: Buffer,
  at: number,
  address: number,
  slot: number,
  first: number,
  count: number,
  before: number,
): void {
  into.writeUInt32LE(count, at + 4);
  into.writeUInt32LE(slot, at + 8);
  into.writeUInt32LE(0, at + 12);
  into.writeDoubleLE(first, at + 16);
  into.writeDoubleLE(before, at + 24);
  into.writeUInt32LE(crc32(into, at + 4, at + blockBytes(count), seedOf(address)), at);
}

/** Entries that the head names; 0 when it cannot be a block's. */
export function blockCount(from: Buffer, at: number): number {
  const count = from.readUInt32LE(at + 4);
  return count <= blockEntriesMax ? count : 0;
}

/** Whether a whole block stands at `at`: the one that was written at this address for this queue. */
export function isBlockIntact(from: Buffer, at: number, address: number, slot: number): boolean {
  const count = blockCount(from, at);
  return (
    count > 0 &&
    from.readUInt32LE(at + 8) === slot &&
    from.readUInt32LE(at) === crc32(from, at + 4, at + blockBytes(count), seedOf(address))
  );
}

export function blockFirst(from: Buffer, at: number): number {
  return from.readDoubleLE(at + 16);
}

export function blockBefore(from: Buffer, at: number): number {
  return from.readDoubleLE(at + 24);
}

/** A block that lies where another should be does not pass for it. */
function seedOf(address: number): number {
  return (address % 0x1_0000_0000) >>> 0;
}
