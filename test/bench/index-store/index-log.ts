import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { entryBytes, type IndexStore, type OpenStore } from "./contender.ts";

/** Entry, and where the one before of the same queue lies. */
const rowBytes = entryBytes + 8;
const bufferBytes = 256 * 1024;

/** One log of the entries of all queues, as they came; memory has where each queue ends. Readers walk back. */
export const openIndexLog: OpenStore = (directory, queueCount): IndexStore => {
  const path = join(directory, "index.log");
  const ends = join(directory, "ends");
  const fd = openSync(path, existsSync(path) ? "r+" : "w+");
  const heads = new Float64Array(queueCount).fill(-1);
  const counts = new Uint32Array(queueCount);
  let written = 0;
  if (existsSync(ends)) {
    const bytes = readFileSync(ends);
    Buffer.from(heads.buffer).set(bytes.subarray(8, 8 + 8 * queueCount));
    Buffer.from(counts.buffer).set(bytes.subarray(8 + 8 * queueCount));
    written = bytes.readDoubleLE(0);
  }
  const buffer = Buffer.alloc(bufferBytes);
  const row = Buffer.alloc(rowBytes);
  let buffered = 0;
  const write = (): void => {
    if (buffered > 0) writeSync(fd, buffer, 0, buffered, written);
    written += buffered;
    buffered = 0;
  };
  return {
    name: "one index log",
    append: (queue, position) => {
      if (buffered + rowBytes > bufferBytes) write();
      buffer.writeDoubleLE(position, buffered);
      buffer.writeDoubleLE(heads[queue]!, buffered + entryBytes);
      heads[queue] = written + buffered;
      counts[queue]!++;
      buffered += rowBytes;
    },
    turn: () => undefined,
    flush: async () => {
      write();
      fdatasyncSync(fd);
      const head = Buffer.alloc(8);
      head.writeDoubleLE(written, 0);
      writeFileSync(ends, Buffer.concat([head, Buffer.from(heads.buffer), Buffer.from(counts.buffer)]), {
        flush: true,
      });
    },
    sum: (queue, from, count) => {
      let sum = 0;
      let at = heads[queue]!;
      for (let offset = counts[queue]! - 1; offset >= from; offset--) {
        if (at >= written) buffer.copy(row, 0, at - written, at - written + rowBytes);
        else readSync(fd, row, 0, rowBytes, at);
        if (offset < from + count) sum += row.readDoubleLE(0);
        at = row.readDoubleLE(entryBytes);
      }
      return sum;
    },
    close: async () => closeSync(fd),
  };
};
