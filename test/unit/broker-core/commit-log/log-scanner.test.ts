import assert from "node:assert/strict";
import { type Epoch, encodeBatchHeader, encodeRecordHeader } from "../../../../broker-core/commit-log/log-frame.ts";
import { LogScanner } from "../../../../broker-core/commit-log/log-scanner.ts";
import { Segment, segmentHeaderBytes } from "../../../../broker-core/commit-log/segment.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

const base = 10_000;
const capacityBytes = 4096;
const epoch: Epoch = { ordinal: 3, nonce: 0xdeadbeef };

/** A segment at `base` whose bytes `write` fills in; index 0 is log position `base`. */
function segmentOf(write: (bytes: Buffer) => void): Segment {
  const disk = new SimulatedDisk();
  const bytes = Buffer.alloc(segmentHeaderBytes + capacityBytes);
  write(bytes.subarray(segmentHeaderBytes));
  disk.open("f", { create: true }).write(bytes, 0, bytes.length, 0);
  return new Segment(disk, "f", { base, capacityBytes, epoch });
}

/** Puts one batch of records with these bodies at `at`; returns where it ends. */
function putBatch(bytes: Buffer, at: number, bodies: readonly string[], written: Epoch = epoch, position = base + at) {
  let end = at + 56;
  for (const body of bodies) {
    bytes.write(body, end + 28, "latin1");
    encodeRecordHeader(bytes, end, 10, body.length, position + end - at, written.nonce);
    end += 28 + body.length;
  }
  const header = { position, length: end - at, recordCount: bodies.length, firstSequence: 0, durableUpTo: 0 };
  encodeBatchHeader(bytes, at, header, written);
  return end;
}

function scan(segment: Segment): string[] {
  const scanner = new LogScanner(segment, base);
  const items: string[] = [];
  for (let item = scanner.next(); item !== "end"; item = scanner.next()) {
    const range = `${scanner.position - base}-${scanner.nextPosition - base}`;
    items.push(item === "record" ? `record ${scanner.body.toString("latin1")}` : `${item} ${range}`);
  }
  return items;
}

describe("LogScanner", () => {
  it("walks batches and records and calls the rest bad", () => {
    const segment = segmentOf((bytes) => putBatch(bytes, putBatch(bytes, 0, ["a", "b"]), ["c"]));
    assert.deepEqual(scan(segment), [
      "batch 0-56",
      "record a",
      "record b",
      "batch 114-170",
      "record c",
      `bad 199-${capacityBytes}`,
    ]);
  });

  it("finds the records of a batch whose header is lost", () => {
    const segment = segmentOf((bytes) => {
      putBatch(bytes, 0, ["a", "b"]);
      bytes[20]! ^= 1;
    });
    assert.deepEqual(scan(segment).slice(0, 3), ["bad 0-56", "record a", "record b"]);
  });

  it("steps over a damaged body by its intact header, and over a damaged header to the next intact one", () => {
    const segment = segmentOf((bytes) => {
      putBatch(bytes, 0, ["aaaa", "bbbb", "cccc"]);
      bytes[56 + 28 + 1]! ^= 1;
      bytes[56 + 32 + 3]! ^= 1;
    });
    assert.deepEqual(scan(segment).slice(0, 4), ["batch 0-56", "damaged-record 56-88", "bad 88-120", "record cccc"]);
  });

  it("accepts nothing that another life of the file, or another place, has written", () => {
    const stale: Epoch = { ordinal: 3, nonce: 0x12345678 };
    const older: Epoch = { ordinal: 2, nonce: epoch.nonce };
    const segment = segmentOf((bytes) => {
      const first = putBatch(bytes, 0, ["stale", "stale"], stale);
      putBatch(bytes, first, ["misdirected"], epoch, base + first + 512);
      // An older ordinal with the same nonce cannot happen; its batch header is refused all the same.
      putBatch(bytes, 2000, [], older);
    });
    assert.deepEqual(scan(segment), [`bad 0-${capacityBytes}`]);
  });

  it("is not fooled by a message body that looks like a record, unless it knows the file's secret", () => {
    const forged = Buffer.alloc(28 + 5);
    forged.write("FAKE!", 28);
    // Everything right but for the nonce, which nobody outside ever sees.
    encodeRecordHeader(forged, 0, 10, 5, base + 56 + 28, 0);
    const segment = segmentOf((bytes) => {
      putBatch(bytes, 0, [forged.toString("latin1"), "after"]);
      bytes[56 + 3]! ^= 1;
    });
    assert.deepEqual(scan(segment).slice(0, 3), ["batch 0-56", "bad 56-117", "record after"]);
  });

  it("ends at a header whose record or batch would leave the segment", () => {
    const segment = segmentOf((bytes) => {
      encodeRecordHeader(bytes, 0, 10, 0, base, epoch.nonce);
      const at = capacityBytes - 40;
      const huge = Buffer.alloc(28 + 200);
      encodeRecordHeader(huge, 0, 10, 200, base + at, epoch.nonce);
      huge.copy(bytes, at, 0, 40);
    });
    assert.deepEqual(scan(segment), ["record ", `bad 28-${capacityBytes}`]);
  });

  it("knows whether frames of this life of the file stand behind a position, whatever else does", () => {
    const findsFrames = (damage: (bytes: Buffer) => void, from = 0) =>
      new LogScanner(segmentOf(damage), base + from).findsFrames();
    assert.equal(
      findsFrames(() => {}),
      false,
      "zeros",
    );
    assert.equal(
      findsFrames((bytes) => void putBatch(bytes, 0, ["a"], { ordinal: 3, nonce: 0x12345678 })),
      false,
      "an earlier life",
    );
    assert.equal(
      findsFrames((bytes) => {
        putBatch(bytes, 0, ["torn"]);
        bytes.fill(0x41, 0, 60);
      }),
      false,
      "a piece without its headers",
    );
    for (const at of [0, 1, 511, 3000]) {
      assert.equal(
        findsFrames((bytes) => void putBatch(bytes, at, ["a"])),
        true,
        `a batch at ${at}`,
      );
    }
    assert.equal(
      findsFrames((bytes) => {
        putBatch(bytes, 100, ["a"]);
        bytes[103]! ^= 1;
      }),
      true,
      "a record whose batch header is gone",
    );
    assert.equal(
      findsFrames((bytes) => void putBatch(bytes, 0, ["a"]), 60),
      false,
      "only before the position",
    );
  });
});
