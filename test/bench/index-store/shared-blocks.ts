import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConsumeQueueTable } from "../../../broker-core/consume-queue/consume-queue-table.ts";
import { IndexFiles } from "../../../broker-core/consume-queue/index-files.ts";
import { ImageReader, ImageWriter } from "../../../broker-core/dispatch/image-bytes.ts";
import { NodeStorage } from "../../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import type { IndexStore, OpenStore } from "./contender.ts";

/** What the broker has: a row per queue, the youngest entries in bounded memory, blocks of all queues in shared files. */
export const openSharedBlocks: OpenStore = (directory, queueCount): IndexStore => {
  const storage = new NodeStorage(directory, "boot");
  const files = new IndexFiles({ storage, randomness: new SeededRandomness(1), log: silentLog });
  const table = new ConsumeQueueTable(files);
  const image = join(directory, "image");
  if (existsSync(image)) table.readFrom(new ImageReader(readFileSync(image)));
  else for (let queue = 0; queue < queueCount; queue++) table.add(queue + 1, 0);
  const flush = async (): Promise<void> => {
    const into = new ImageWriter();
    table.writeTo(into, "whole");
    await files.sync();
    writeFileSync(image, into.bytes(), { flush: true });
  };
  return {
    name: "shared blocks",
    append: (queue, position) => table.append(queue, position, 100, 1, 0, 0, 0),
    turn: () => undefined,
    flush,
    sum: (queue, from, count) => {
      let sum = 0;
      const end = from + count;
      for (let offset = from; offset < end; ) {
        const entry = table.entry(queue, offset);
        const run = table.runLength(queue, offset, end);
        for (let i = 0; i < run; i++) sum += table.position(entry + i);
        offset += run;
      }
      return sum;
    },
    close: async () => files.close(),
  };
};
