import assert from "node:assert/strict";
import { ConsumeQueueTable } from "../../broker-core/consume-queue/consume-queue-table.ts";
import { IndexFiles, indexDirectory } from "../../broker-core/consume-queue/index-files.ts";
import { IndexDamage } from "../../broker-core/consume-queue/index-pages.ts";
import { ImageReader, ImageWriter } from "../../broker-core/dispatch/image-bytes.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

interface ModelEntry {
  readonly slot: number;
  readonly topicId: number;
  readonly offset: number;
  readonly position: number;
  readonly bytes: number;
  readonly tagHash: number;
  readonly groupHash: number;
  readonly flags: number;
}

interface ModelQueue {
  readonly topicId: number;
  readonly queueId: number;
  begin: number;
  end: number;
  /** By offset from `base` on. */
  readonly entries: ModelEntry[];
}

/** What the table should hold. */
interface Model {
  queues: Map<number, ModelQueue>;
  logBegin: number;
}

export interface ConsumeQueueCounts {
  appended: number;
  checked: number;
  trims: number;
  logTrims: number;
  removals: number;
  restarts: number;
  crashes: number;
  losses: number;
  damages: number;
  full: number;
  filesMax: number;
}

const fileBytes = 40_000;
/** Queues that get most of the messages. */
const busyCount = 6;
const quietMessages = 5;
const firstSegmentBytes = 96 * 1024;

/**
 * Random histories of consume queues over an index on a simulated disk, next to a plain model: whatever is written to disk,
 * read back, trimmed, removed, restarted, lost and found again, the entries are the same.
 */
export class ConsumeQueueRun {
  readonly counts: ConsumeQueueCounts = {
    ...{
      appended: 0,
      checked: 0,
      trims: 0,
      logTrims: 0,
      removals: 0,
      restarts: 0,
      crashes: 0,
      losses: 0,
      damages: 0,
      full: 0,
    },
    filesMax: 0,
  };
  readonly #randomness: SeededRandomness;
  readonly #disk = new SimulatedDisk();
  readonly #indexBytes: number;
  #files: IndexFiles;
  #table: ConsumeQueueTable;
  #model: Model = { queues: new Map(), logBegin: 0 };
  /** Every entry ever made, as the log has it; from `logBegin` on it can be read. */
  #log: ModelEntry[] = [];
  #position = 100;
  #nextTopic = 1;
  /** The newest checkpoint, and what the table held then. */
  #checkpoint: { image: Buffer; model: Model; logLength: number; isHurt: boolean } | undefined;

  constructor(seed: number) {
    this.#randomness = new SeededRandomness(seed);
    // From next to no memory to some.
    this.#indexBytes = this.#pick(3) * 200_000;
    this.#files = this.#newFiles();
    this.#table = new ConsumeQueueTable(this.#files, this.#indexBytes);
    this.#table.clearPages();
  }

  async steps(count: number): Promise<void> {
    for (let i = 0; i < 40; i++) this.#add();
    for (let step = 0; step < count; step++) {
      await this.#step();
      this.counts.filesMax = Math.max(this.counts.filesMax, this.#files.fileCount);
    }
    this.#checkAll();
  }

  async #step(): Promise<void> {
    switch (this.#pick(24)) {
      case 0:
        this.#add();
        break;
      case 1:
        if (this.#pick(4) === 0) this.#remove();
        break;
      case 2:
        this.#trim();
        break;
      case 3:
        if (this.#pick(3) === 0) this.#trimLog();
        break;
      case 4:
        this.#scan();
        break;
      case 5:
        if (this.#pick(4) === 0) await this.#checkpointNow();
        break;
      case 6:
        if (this.#pick(6) === 0) await this.#restart();
        break;
      case 7:
        if (this.#pick(3) === 0) {
          // Now and then the disk has no room for the index.
          this.#disk.capacityBytes = this.#pick(2) === 0 ? 0 : Number.POSITIVE_INFINITY;
          this.counts.full++;
        }
        break;
      case 8:
      case 9:
      case 10:
        this.#appendTo(this.#busySlot(), 1 + this.#pick(400));
        break;
      default:
        for (let i = this.#pick(60); i > 0; i--) this.#appendTo(this.#slotInUse(), 1);
        this.#checkSome();
    }
  }

  #add(): void {
    const topicId = this.#nextTopic++;
    const queueId = this.#pick(1_000);
    const slot = this.#table.add(topicId, queueId);
    assert.equal(this.#model.queues.has(slot), false, `slot ${slot} has a queue`);
    this.#model.queues.set(slot, { topicId, queueId, begin: 0, end: 0, entries: [] });
  }

  #remove(): void {
    const slot = this.#anySlot();
    this.#table.remove(slot);
    this.#model.queues.delete(slot);
    this.counts.removals++;
    this.#add();
  }

  #appendTo(slot: number, count: number): void {
    const queue = this.#model.queues.get(slot)!;
    for (let i = 0; i < count; i++) {
      const n = this.#log.length;
      const entry = {
        ...{ slot, topicId: queue.topicId, offset: queue.end, position: this.#position, flags: n & 3 },
        ...{ bytes: n % 5_000_000, tagHash: (n * 7) >>> 0, groupHash: (n * 13) >>> 0 },
      };
      this.#table.append(slot, entry.position, entry.bytes, entry.tagHash, entry.groupHash, n & 0xffff, entry.flags);
      this.#position += 50 + this.#pick(3_000);
      queue.entries[entry.offset] = entry;
      queue.end++;
      this.#log.push(entry);
    }
    this.counts.appended += count;
  }

  #trim(): void {
    const slot = this.#pick(2) === 0 ? this.#busySlot() : this.#anySlot();
    const queue = this.#model.queues.get(slot)!;
    const begin = this.#begin(queue);
    const newBegin = begin + this.#pick(queue.end - begin + 1);
    this.#table.trim(slot, newBegin);
    queue.begin = Math.max(queue.begin, newBegin);
    this.counts.trims++;
    if (this.#pick(2) === 0) this.#checkQueue(slot);
  }

  #trimLog(): void {
    const { logBegin } = this.#model;
    const position = logBegin + this.#pick(Math.max(1, (this.#position - logBegin) / 2));
    // A log begins behind its first segment, if not at 0.
    if (position < firstSegmentBytes) return;
    this.#table.trimBelow(position);
    this.#model.logBegin = Math.max(logBegin, position);
    this.counts.logTrims++;
  }

  #scan(): void {
    const slot = this.#busySlot();
    const queue = this.#model.queues.get(slot)!;
    const begin = this.#begin(queue);
    assert.equal(this.#table.beginOffset(slot), begin);
    const from = begin + this.#pick(queue.end - begin + 1);
    const to = from + this.#pick(queue.end - from + 1);
    for (let offset = from; offset < to; ) {
      const entry = this.#table.entry(slot, offset);
      const count = this.#table.runLength(slot, offset, to);
      assert.ok(count >= 1 && offset + count <= to, `a run of ${count}`);
      for (let i = 0; i < count; i++) this.#checkEntry(entry + i, queue.entries[offset + i]!);
      offset += count;
    }
  }

  /** Something may go wrong on the way; then the one before counts. */
  async #checkpointNow(): Promise<void> {
    const image = this.#image(this.#table);
    const model = structuredClone(this.#model);
    const logLength = this.#log.length;
    try {
      const snapshot = await this.#files.sync();
      this.#checkpoint = { image, model, logLength, isHurt: false };
      this.#files.checkpointWritten(snapshot);
    } catch {
      assert.equal(this.#disk.capacityBytes, 0, "the index cannot be synced though there is room");
    }
  }

  async #restart(): Promise<void> {
    const kind = this.#pick(4);
    if (kind === 0) {
      this.#disk.capacityBytes = Number.POSITIVE_INFINITY;
      await this.#checkpointNow();
    }
    const checkpoint = this.#checkpoint;
    if (kind <= 1) this.#disk.kill();
    else {
      this.#disk.crash(this.#randomness);
      this.counts.crashes++;
    }
    this.#disk.capacityBytes = Number.POSITIVE_INFINITY;
    this.#files = this.#newFiles();
    this.#table = new ConsumeQueueTable(this.#files, this.#indexBytes);
    this.counts.restarts++;
    if (checkpoint === undefined) {
      this.#table.clearPages();
      this.#model = { queues: new Map(), logBegin: 0 };
      this.#log = [];
      for (let i = 0; i < 40; i++) this.#add();
      return;
    }
    // Only the log knows what came after, and here it lost that.
    this.#model = structuredClone(checkpoint.model);
    this.#log.length = checkpoint.logLength;
    this.#position = (this.#log.at(-1)?.position ?? 0) + 100;
    const names = this.#disk.list(indexDirectory);
    if (this.#pick(3) === 0 && names.length > 0) {
      this.#hurt(names[this.#pick(names.length)]!);
      checkpoint.isHurt = true;
    }
    const left = this.#disk.list(indexDirectory);
    if (this.#pick(3) > 0 && left.length > 0 && this.#flip(left[this.#pick(left.length)]!)) checkpoint.isHurt = true;
    const isMet =
      this.#meetsDamage(() => this.#table.readFrom(new ImageReader(checkpoint.image)), checkpoint.isHurt) ||
      // A file that was hurt and removed may be back after a power cut.
      (checkpoint.isHurt && !this.#table.isLost && this.#meetsDamage(() => this.#checkAll(), true));
    if (isMet) {
      this.counts.damages++;
      this.#files = this.#newFiles();
      this.#table = new ConsumeQueueTable(this.#files, this.#indexBytes);
      this.#table.readFrom(new ImageReader(checkpoint.image));
      assert.ok(this.#table.isLost, "damage was met and is not known at the next start");
    }
    if (this.#table.isLost) {
      assert.ok(checkpoint.isHurt, "the index is lost, and nobody hurt it");
      this.counts.losses++;
      this.#recover();
    }
    this.#table.showAll();
    if (this.#pick(2) === 0) this.#checkAll();
  }

  /** A file is gone, shorter, or another's. */
  #hurt(name: string): void {
    const path = `${indexDirectory}/${name}`;
    switch (this.#pick(3)) {
      case 0:
        this.#disk.remove(path);
        break;
      case 1:
        this.#disk.resize(path, Math.floor(this.#disk.sizeOf(path) / 2));
        break;
      default:
        this.#disk.alter(path, (bytes) => bytes.fill(0x55, 0, Math.min(64, bytes.length)));
    }
  }

  /** A bit rots. False: the file has none. */
  #flip(name: string): boolean {
    const path = `${indexDirectory}/${name}`;
    if (this.#disk.sizeOf(path) <= 64) return false;
    this.#disk.alter(path, (bytes) => {
      bytes[64 + this.#pick(bytes.length - 64)]! ^= 1 << this.#pick(8);
    });
    return true;
  }

  /** Whether a reader of entries comes to the damage. Until then it reads what was written. */
  #meetsDamage(read: () => void, mayMeet: boolean): boolean {
    try {
      read();
      return false;
    } catch (error) {
      if (error instanceof IndexDamage && mayMeet) return true;
      throw error;
    }
  }

  #recover(): void {
    const { logBegin } = this.#model;
    this.#table.recoverFrom(logBegin);
    for (const entry of this.#log) {
      if (entry.position < logBegin) continue;
      const { slot, topicId, offset, position, bytes, tagHash, groupHash, flags } = entry;
      // As the dispatcher finds the queue of a record: by its topic.
      if (this.#table.topicId(slot) !== topicId) continue;
      this.#table.recover(slot, offset, position, bytes, tagHash, groupHash, 0, flags);
    }
    this.#table.recovered(Number.MAX_SAFE_INTEGER);
  }

  #checkSome(): void {
    for (let i = 0; i < 3; i++) {
      const slot = this.#pick(2) === 0 ? this.#busySlot() : this.#anySlot();
      const queue = this.#model.queues.get(slot)!;
      const begin = this.#begin(queue);
      assert.equal(this.#table.beginOffset(slot), begin, `beginning of ${slot}`);
      if (begin === queue.end) continue;
      const offset = begin + this.#pick(queue.end - begin);
      this.#checkEntry(this.#table.entry(slot, offset), queue.entries[offset]!);
    }
  }

  #checkAll(): void {
    for (const slot of this.#model.queues.keys()) this.#checkQueue(slot);
  }

  #checkQueue(slot: number): void {
    const queue = this.#model.queues.get(slot)!;
    const begin = this.#begin(queue);
    const { topicId, queueId, end } = queue;
    assert.deepEqual(
      [
        this.#table.topicId(slot),
        this.#table.queueId(slot),
        this.#table.beginOffset(slot),
        this.#table.endOffset(slot),
      ],
      [topicId, queueId, begin, end],
    );
    for (let offset = begin; offset < end; offset++) {
      this.#checkEntry(this.#table.entry(slot, offset), queue.entries[offset]!);
    }
  }

  #checkEntry(entry: number, expected: ModelEntry): void {
    this.counts.checked++;
    const table = this.#table;
    const isSame =
      table.position(entry) === expected.position &&
      table.bytes(entry) === expected.bytes &&
      table.tagHash(entry) === expected.tagHash &&
      table.groupHash(entry) === expected.groupHash &&
      table.flags(entry) === expected.flags;
    if (isSame) return;
    assert.deepEqual({ position: table.position(entry), bytes: table.bytes(entry) }, expected);
  }

  /** The first offset that was neither trimmed nor lies before the log's beginning. */
  #begin(queue: ModelQueue): number {
    while (queue.begin < queue.end && queue.entries[queue.begin]!.position < this.#model.logBegin) queue.begin++;
    return queue.begin;
  }

  #image(table: ConsumeQueueTable): Buffer {
    const image = new ImageWriter();
    table.writeTo(image, "whole");
    return image.bytes();
  }

  #newFiles(): IndexFiles {
    return new IndexFiles({ storage: this.#disk, randomness: this.#randomness, log: silentLog, fileBytes });
  }

  #busySlot(): number {
    const slots = [...this.#model.queues.keys()];
    return slots[this.#pick(Math.min(busyCount, slots.length))]!;
  }

  /** A third of the queues get a few messages and then none: all they have goes when the log's beginning moves. */
  #slotInUse(): number {
    const slot = this.#anySlot();
    const { topicId, end } = this.#model.queues.get(slot)!;
    return topicId % 3 === 0 && end >= quietMessages ? this.#busySlot() : slot;
  }

  #anySlot(): number {
    const slots = [...this.#model.queues.keys()];
    return slots[this.#pick(slots.length)]!;
  }

  #pick(count: number): number {
    return randomIndex(this.#randomness, Math.max(1, Math.floor(count)));
  }
}
