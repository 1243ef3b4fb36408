import { closeSync, fdatasyncSync, mkdirSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { entryBytes, type IndexStore, type OpenStore } from "./contender.ts";

const openMax = 512;
const perFolder = 1_000;

/** A file of entries for each queue, as RocketMQ has; so many descriptors are kept open. What a turn appends goes in one write each. */
export const openFilePerQueue: OpenStore = (directory, queueCount): IndexStore => {
  const folder = (queue: number): string => join(directory, String(Math.floor(queue / perFolder)));
  for (let queue = 0; queue < queueCount; queue += perFolder) mkdirSync(folder(queue), { recursive: true });
  const open = new Map<number, number>();
  const touched = new Set<number>();
  const counts = new Uint32Array(queueCount);
  const descriptor = (queue: number): number => {
    let fd = open.get(queue);
    if (fd !== undefined) open.delete(queue);
    else fd = openSync(join(folder(queue), String(queue)), "a+");
    open.set(queue, fd);
    if (open.size > openMax) {
      const [[oldest, its]] = open.entries() as unknown as [[number, number]];
      open.delete(oldest);
      closeSync(its);
    }
    return fd;
  };
  // Where a queue ends is the length of its file.
  if (statSync(join(folder(0), "0"), { throwIfNoEntry: false }) !== undefined) {
    for (let queue = 0; queue < queueCount; queue++) {
      const { size } = statSync(join(folder(queue), String(queue)), { throwIfNoEntry: false }) ?? { size: 0 };
      counts[queue] = size / entryBytes;
    }
  }
  const pending = new Map<number, number[]>();
  const write = (): void => {
    for (const [queue, positions] of pending) {
      const bytes = Buffer.alloc(positions.length * entryBytes);
      for (let i = 0; i < positions.length; i++) bytes.writeDoubleLE(positions[i]!, i * entryBytes);
      writeSync(descriptor(queue), bytes, 0, bytes.length);
      touched.add(queue);
    }
    pending.clear();
  };
  const window = Buffer.alloc(1024 * entryBytes);
  return {
    name: "a file per queue",
    append: (queue, position) => {
      const positions = pending.get(queue);
      if (positions === undefined) pending.set(queue, [position]);
      else positions.push(position);
      counts[queue]!++;
    },
    turn: () => {
      write();
      return undefined;
    },
    flush: async () => {
      write();
      for (const queue of touched) fdatasyncSync(descriptor(queue));
      touched.clear();
    },
    sum: (queue, from, count) => {
      let sum = 0;
      const read = readSync(descriptor(queue), window, 0, count * entryBytes, from * entryBytes) / entryBytes;
      for (let i = 0; i < read; i++) sum += window.readDoubleLE(i * entryBytes);
      return sum;
    },
    close: async () => {
      for (const fd of open.values()) closeSync(fd);
    },
  };
};
