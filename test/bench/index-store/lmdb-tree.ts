import { closeSync, fdatasyncSync, openSync } from "node:fs";
import { join } from "node:path";
import { open } from "lmdb";
import { entryBytes, type IndexStore, type OpenStore } from "./contender.ts";

const keyBytes = 12;
/** Turns whose transaction may be under way. */
const turnsMax = 16;

/** LMDB: (queue, offset) to entry in one tree; a transaction per turn, synced at `flush` only, since the log has everything. */
export const openLmdb: OpenStore = (directory, queueCount): IndexStore => {
  const db = open<Buffer, Buffer>({
    ...{ path: directory, encoding: "binary", keyEncoding: "binary", noSync: true, mapSize: 2 ** 34 },
    noMetaSync: true,
  });
  const counts = new Uint32Array(queueCount);
  const ends = db.get(Buffer.from("ends"));
  if (ends !== undefined) Buffer.from(counts.buffer).set(ends);
  const turns: Promise<unknown>[] = [];
  let last: Promise<boolean> | undefined;
  const keyOf = (queue: number, offset: number, key = Buffer.alloc(keyBytes)): Buffer => {
    key.writeUInt32BE(queue, 0);
    key.writeUIntBE(offset, 6, 6);
    return key;
  };
  const settled = async (): Promise<void> => {
    await last;
    await Promise.all(turns.splice(0));
  };
  return {
    name: "LMDB",
    append: (queue, position) => {
      const value = Buffer.alloc(entryBytes);
      value.writeDoubleLE(position, 0);
      last = db.put(keyOf(queue, counts[queue]!++), value);
    },
    turn: () => {
      if (last !== undefined) turns.push(last);
      return turns.length > turnsMax ? turns.shift()?.then(() => {}) : undefined;
    },
    flush: async () => {
      await settled();
      await db.put(Buffer.from("ends"), Buffer.from(counts.buffer));
      const file = openSync(join(directory, "data.mdb"), "r+");
      fdatasyncSync(file);
      closeSync(file);
    },
    sum: (queue, from, count) => {
      let sum = 0;
      const range = { start: keyOf(queue, from), end: keyOf(queue, from + count), limit: count };
      for (const { value } of db.getRange(range)) sum += value.readDoubleLE(0);
      return sum;
    },
    close: async () => {
      await settled();
      await db.close();
    },
  };
};
