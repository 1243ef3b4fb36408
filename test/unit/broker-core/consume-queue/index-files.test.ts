import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IndexFiles, indexDirectory } from "../../../../broker-core/consume-queue/index-files.ts";
import { IndexDamage } from "../../../../broker-core/consume-queue/index-pages.ts";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";
import { NodeStorage } from "../../../../broker-core/storage/node-storage.ts";
import { StorageError } from "../../../../broker-core/storage/storage.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

const fileBytes = 10_000;
const blockBytes = 1_000;

class Setting {
  readonly disk = new SimulatedDisk();
  readonly randomness = new SeededRandomness(5);
  files = this.open();

  open(): IndexFiles {
    const { disk: storage, randomness } = this;
    this.files = new IndexFiles({ storage, randomness, log: silentLog, fileBytes });
    return this.files;
  }

  /** Appends blocks of one value each and returns their addresses. */
  append(values: readonly number[], newestPosition = 0): number[] {
    return values.map((value) => {
      const address = this.files.next(blockBytes);
      this.files.append(Buffer.alloc(blockBytes, value), blockBytes, newestPosition);
      return address;
    });
  }

  read(address: number): number {
    const into = Buffer.alloc(blockBytes);
    assert.equal(this.files.read(address, into, blockBytes), blockBytes);
    assert.deepEqual(into, Buffer.alloc(blockBytes, into[0]));
    return into[0]!;
  }

  image(): Buffer {
    const image = new ImageWriter();
    this.files.writeTo(image);
    return Buffer.from(image.bytes());
  }

  /** A checkpoint, and its image. */
  async checkpoint(): Promise<Buffer> {
    const image = this.image();
    this.files.checkpointWritten(await this.files.sync());
    return image;
  }

  names(): string[] {
    return this.disk.list(indexDirectory);
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe("the files of the index", () => {
  it("hold blocks of all queues, and are as many as their bytes need", () => {
    const s = new Setting();
    const addresses = s.append(range(0, 95));
    assert.equal(s.files.fileCount, 10);
    for (const [value, address] of addresses.entries()) assert.equal(s.read(address), value);
    assert.equal(s.files.read(addresses[94]!, Buffer.alloc(2_000), 2_000), blockBytes, "nothing behind the last");
    assert.equal(s.files.has(addresses[94]! + blockBytes), false);
  });

  it("come back as an image names them, and what is ahead of it is cut off", async () => {
    const s = new Setting();
    const kept = s.append(range(0, 15));
    const image = await s.checkpoint();
    s.append(range(100, 140));
    await s.files.sync();
    s.disk.kill();
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(image)), true);
    assert.equal(s.names().length, 2, "files ahead of the image are gone");
    for (const [value, address] of kept.entries()) assert.equal(s.read(address), value);
    assert.equal(s.files.has(kept[14]! + blockBytes), false);
    const [next] = s.append([77]);
    assert.equal(next, kept[14]! + blockBytes);
    assert.equal(s.read(next!), 77);
    assert.equal(s.read(kept[14]!), 14);
  });

  for (const [what, hurt] of Object.entries({
    "is gone": (disk: SimulatedDisk, path: string) => disk.remove(path),
    "is shorter": (disk: SimulatedDisk, path: string) => disk.resize(path, disk.sizeOf(path) - 1),
    "is of another life": (disk: SimulatedDisk, path: string) => disk.alter(path, (bytes) => bytes.writeUInt8(1, 16)),
    "cannot be read": (disk: SimulatedDisk, path: string) => disk.makeUnreadable(path, 0, 64),
  })) {
    it(`are not taken when one of them ${what}`, async () => {
      const s = new Setting();
      s.append(range(0, 25));
      const image = await s.checkpoint();
      hurt(s.disk, `${indexDirectory}/${s.names()[1]}`);
      s.open();
      assert.equal(s.files.readFrom(new ImageReader(image)), false);
      s.files.clear();
      assert.deepEqual(s.names(), []);
      const [address] = s.append([9]);
      assert.equal(s.read(address!), 9);
      s.image();
      s.open();
      assert.equal(s.files.readFrom(new ImageReader(image)), false, "the new ones are not taken for the old ones");
    });
  }

  it("stay as long as a kept checkpoint names them, and go then", async () => {
    const s = new Setting();
    const addresses = s.append(range(0, 30));
    const [first = ""] = s.names();
    await s.checkpoint();
    for (const address of addresses.slice(0, 10)) s.files.drop(address, blockBytes);
    assert.equal(s.files.has(addresses[0]!), false);
    assert.equal(s.files.read(addresses[0]!, Buffer.alloc(10), 10), 0);
    assert.ok(s.names().includes(first), "the first checkpoint names it");
    await s.checkpoint();
    assert.ok(s.names().includes(first), "the first checkpoint is still kept");
    await s.checkpoint();
    assert.equal(s.names().includes(first), false);
    assert.equal(s.read(addresses[10]!), 10);
  });

  it("stay over a restart for the sake of the older checkpoint, until the next", async () => {
    const s = new Setting();
    const addresses = s.append(range(0, 30));
    const older = await s.checkpoint();
    for (const address of addresses.slice(0, 10)) s.files.drop(address, blockBytes);
    const newer = await s.checkpoint();
    s.disk.kill();
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(newer)), true);
    // The newer checkpoint turns out damaged at the next start.
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(older)), true);
    assert.equal(s.read(addresses[0]!), 0);
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(newer)), true);
    await s.checkpoint();
    await s.checkpoint();
    assert.equal(s.names().length, 2);
  });

  it("go when all of their entries lie before the log's beginning", () => {
    const s = new Setting();
    const old = s.append(range(0, 10), 1_000);
    const mixed = s.append(range(10, 20), 2_000);
    const young = s.append(range(20, 25), 1_500);
    s.files.dropBelow(1_999);
    assert.deepEqual([s.files.has(old[9]!), s.files.has(mixed[0]!), s.files.has(young[0]!)], [false, true, true]);
  });

  it("wait in memory while the disk has no room, and no checkpoint names them then", async () => {
    const s = new Setting();
    const before = s.append(range(0, 5));
    await s.checkpoint();
    s.disk.capacityBytes = 0;
    const during = s.append(range(5, 250));
    for (const [value, address] of during.entries()) assert.equal(s.read(address), 5 + value);
    s.image();
    await assert.rejects(s.files.sync(), (error) => error instanceof StorageError && error.kind === "full");
    s.disk.capacityBytes = Number.POSITIVE_INFINITY;
    const image = await s.checkpoint();
    const after = s.append([1]);
    s.disk.kill();
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(image)), true);
    for (const [value, address] of [...before, ...during].entries()) assert.equal(s.read(address), value);
    assert.equal(s.files.has(after[0]!), false);
  });

  it("are named whole by an image that was made while the disk had no room, once it has some before the sync", async () => {
    const s = new Setting();
    const before = s.append(range(0, 5));
    await s.checkpoint();
    s.disk.capacityBytes = 0;
    const during = s.append(range(5, 25));
    const image = s.image();
    s.disk.capacityBytes = Number.POSITIVE_INFINITY;
    const behind = s.append([25]);
    s.files.checkpointWritten(await s.files.sync());
    s.disk.kill();
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(image)), true);
    for (const [value, address] of [...before, ...during].entries()) assert.equal(s.read(address), value);
    assert.equal(s.files.has(behind[0]!), false, "the image does not know it");
    const [again = 0] = s.append([7]);
    assert.equal(s.read(again), 7);
    for (const [value, address] of [...before, ...during].entries()) assert.equal(s.read(address), value);
  });

  it("vouch for nothing after a sync failed", async () => {
    const s = new Setting();
    s.append(range(0, 5));
    s.disk.fail({ call: "sync", at: 1, kind: "io" });
    await assert.rejects(s.files.sync(), StorageError);
    s.disk.heal();
    await assert.rejects(s.files.sync(), StorageError);
  });

  it("are moved away when a block of theirs is damaged, so that the next start sees it", async () => {
    const s = new Setting();
    const addresses = s.append(range(0, 25));
    const image = await s.checkpoint();
    const path = `${indexDirectory}/${s.names()[1]}`;
    assert.ok(s.files.damage(addresses[12]!, "not what was written") instanceof IndexDamage);
    assert.equal(s.disk.exists(path), false);
    s.disk.kill();
    s.open();
    assert.equal(s.files.readFrom(new ImageReader(image)), false);
    const unreadable = new Setting();
    const [first = 0] = unreadable.append(range(0, 25));
    unreadable.disk.makeUnreadable(`${indexDirectory}/${unreadable.names()[0]}`, 100, 200);
    assert.throws(() => unreadable.read(first), IndexDamage);
  });

  it("do on a real disk what they do on a simulated one", async () => {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-index-"));
    try {
      const open = () => {
        const storage = new NodeStorage(directory, "boot-1");
        return new IndexFiles({ storage, randomness: new SeededRandomness(3), log: silentLog, fileBytes });
      };
      const files = open();
      files.clear();
      const empty = new ImageWriter();
      files.writeTo(empty);
      files.checkpointWritten(await files.sync());
      const addresses = range(0, 45).map((value) => {
        const address = files.next(blockBytes);
        files.append(Buffer.alloc(blockBytes, value), blockBytes, 0);
        return address;
      });
      const image = new ImageWriter();
      files.writeTo(image);
      files.checkpointWritten(await files.sync());
      files.close();
      const again = open();
      assert.equal(again.readFrom(new ImageReader(image.bytes())), true);
      for (const [value, address] of addresses.entries()) {
        const into = Buffer.alloc(blockBytes);
        assert.equal(again.read(address, into, blockBytes), blockBytes);
        assert.deepEqual(into, Buffer.alloc(blockBytes, value));
      }
      again.close();
      const old = open();
      assert.equal(old.readFrom(new ImageReader(empty.bytes())), true);
      assert.equal(readdirSync(join(directory, indexDirectory)).length, 0, "all of it was ahead of the first image");
      old.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("keep few descriptors open, and do with fewer", async () => {
    const s = new Setting();
    const addresses = s.append(range(0, 250));
    s.image();
    for (const address of addresses) s.read(address);
    s.disk.fail({ call: "open", at: 1, kind: "descriptors" });
    for (const [value, address] of addresses.entries()) assert.equal(s.read(address), value % 256);
    const syncing = s.files.sync();
    for (const address of addresses) s.read(address);
    await syncing;
    s.files.close();
    assert.equal(s.read(addresses[0]!), 0);
  });
});
