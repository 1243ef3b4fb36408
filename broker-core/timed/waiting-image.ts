import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import type { WaitingTable } from "./waiting-table.ts";

/** Number, due time, log position, topic id. */
const rowBytes = 8 + 8 + 8 + 4;

/** As the rows lie: putting ten million of them in order would hold up the broker for seconds. */
export function writeWaiting(waiting: WaitingTable, into: ImageWriter): void {
  writeHead(waiting, into);
  into.fill(waiting.count * rowBytes, (bytes, start) => {
    let at = start;
    for (const row of waiting.rows()) at = writeRow(waiting, row, bytes, at);
  });
}

/** In the order of their numbers: equal tables, equal bytes. */
export function dumpWaiting(waiting: WaitingTable, into: ImageWriter): void {
  writeHead(waiting, into);
  const rows = [...waiting.rows()].sort((a, b) => waiting.number(a) - waiting.number(b));
  into.fill(rows.length * rowBytes, (bytes, start) => {
    let at = start;
    for (const row of rows) at = writeRow(waiting, row, bytes, at);
  });
}

/** Fills an empty table with what `writeWaiting` wrote. */
export function readWaiting(from: ImageReader, waiting: WaitingTable): void {
  const nextNumber = from.f64();
  waiting.releasedThroughMs = from.f64();
  const count = from.f64();
  from.take(count * rowBytes, (bytes, start) => {
    for (let i = 0, at = start; i < count; i++, at += rowBytes) {
      waiting.add(
        bytes.readDoubleLE(at),
        bytes.readDoubleLE(at + 8),
        bytes.readDoubleLE(at + 16),
        bytes.readUInt32LE(at + 24),
      );
    }
  });
  waiting.nextNumber = nextNumber;
}

function writeHead(waiting: WaitingTable, into: ImageWriter): void {
  into.f64(waiting.nextNumber);
  into.f64(waiting.releasedThroughMs);
  into.f64(waiting.count);
}

function writeRow(waiting: WaitingTable, row: number, into: Buffer, at: number): number {
  into.writeDoubleLE(waiting.number(row), at);
  into.writeDoubleLE(waiting.dueMs(row), at + 8);
  into.writeDoubleLE(waiting.position(row), at + 16);
  into.writeUInt32LE(waiting.topicId(row), at + 24);
  return at + rowBytes;
}
