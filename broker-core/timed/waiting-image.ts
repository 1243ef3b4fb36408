import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import type { WaitingTable } from "./waiting-table.ts";

/** Number, due time, log position, topic id. */
const rowBytes = 8 + 8 + 8 + 4;

/** At least so many bytes has the image of a table with so many rows. */
export function waitingImageBytes(count: number): number {
  return count * rowBytes;
}

/** Rows brought together before they are copied into the image, column by column. */
const blockRows = 8_192;

/** As the rows lie: putting ten million of them in order would hold up the broker for seconds. */
export function writeWaiting(waiting: WaitingTable, into: ImageWriter): void {
  writeHead(waiting, into);
  const numbers = new Float64Array(blockRows);
  const dues = new Float64Array(blockRows);
  const positions = new Float64Array(blockRows);
  const topicIds = new Uint32Array(blockRows);
  into.fill(waiting.count * rowBytes, (bytes, start) => {
    let at = start;
    let count = 0;
    const flush = (): void => {
      for (const column of [numbers, dues, positions, topicIds]) {
        const part = Buffer.from(column.buffer, 0, count * column.BYTES_PER_ELEMENT);
        at += part.copy(bytes, at);
      }
      count = 0;
    };
    for (let row = 0; row < waiting.end; row++) {
      const number = waiting.number(row);
      if (number === 0) continue;
      numbers[count] = number;
      dues[count] = waiting.dueMs(row);
      positions[count] = waiting.position(row);
      topicIds[count] = waiting.topicId(row);
      if (++count === blockRows) flush();
    }
    flush();
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
    for (let done = 0, at = start; done < count; ) {
      const rows = Math.min(blockRows, count - done);
      for (let i = 0; i < rows; i++) {
        waiting.add(
          bytes.readDoubleLE(at + 8 * i),
          bytes.readDoubleLE(at + 8 * (rows + i)),
          bytes.readDoubleLE(at + 8 * (2 * rows + i)),
          bytes.readUInt32LE(at + 24 * rows + 4 * i),
        );
      }
      done += rows;
      at += rows * rowBytes;
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
