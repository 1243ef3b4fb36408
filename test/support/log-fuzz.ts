import assert from "node:assert/strict";
import { encodeBatchHeader, encodeRecordHeader } from "../../broker-core/commit-log/log-frame.ts";
import { LogScanner } from "../../broker-core/commit-log/log-scanner.ts";
import { Segment, segmentHeaderBytes } from "../../broker-core/commit-log/segment.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const capacityBytes = 2048;
const epoch = { ordinal: 1, nonce: 77 };

/**
 * The log's share of T10: `count` mutilated segments through the scanner. It must end, cover every position exactly once,
 * throw nothing and serve no body that was not written. Returns how many records were served.
 */
export function fuzzScanner(seed: number, count: number): number {
  const randomness = new SeededRandomness(seed);
  const disk = new SimulatedDisk();
  const file = disk.open("f", { create: true });
  let served = 0;
  for (let i = 0; i < count; i++) {
    const base = randomIndex(randomness, 2) * 5_000_000_000;
    const bytes = Buffer.alloc(segmentHeaderBytes + capacityBytes);
    writeFrames(bytes, base, randomness);
    mutilate(bytes, randomness);
    file.write(bytes, 0, bytes.length, 0);
    served += scanOnce(new Segment(disk, "f", { base, capacityBytes, epoch }), base, randomness.fraction() < 0.3);
  }
  return served;
}

/** Bodies say where they stand, so that a scan can tell a real one. */
function writeFrames(bytes: Buffer, base: number, randomness: Randomness): void {
  let at = segmentHeaderBytes;
  while (at < bytes.length - 400) {
    const batchAt = at;
    at += 56;
    const records = 1 + randomIndex(randomness, 3);
    for (let i = 0; i < records; i++) {
      const length = 4 + randomIndex(randomness, 60);
      bytes.fill(at & 0xff, at + 28, at + 28 + length);
      encodeRecordHeader(bytes, at, 10, length, base + at - segmentHeaderBytes, epoch.nonce);
      at += 28 + length;
    }
    const position = base + batchAt - segmentHeaderBytes;
    const header = { position, length: at - batchAt, recordCount: records, firstSequence: 0, durableUpTo: 0 };
    encodeBatchHeader(bytes, batchAt, header, epoch);
  }
}

function mutilate(bytes: Buffer, randomness: Randomness): void {
  for (let i = randomIndex(randomness, 6); i > 0; i--) {
    const at = segmentHeaderBytes + randomIndex(randomness, capacityBytes);
    const length = randomIndex(randomness, 80);
    switch (randomIndex(randomness, 4)) {
      case 0:
        bytes[at] = randomIndex(randomness, 256);
        break;
      case 1:
        bytes.fill(randomIndex(randomness, 2) * 255, at, Math.min(at + length, bytes.length));
        break;
      case 2:
        bytes.copy(bytes, at, segmentHeaderBytes + randomIndex(randomness, capacityBytes), bytes.length);
        break;
      default:
        bytes.writeUInt32BE(0xf1504d62 + 16 * randomIndex(randomness, 2), Math.min(at, bytes.length - 4));
    }
  }
}

function scanOnce(segment: Segment, base: number, headersOnly: boolean): number {
  const scanner = new LogScanner(segment, base, headersOnly);
  let records = 0;
  let position = base;
  for (let item = scanner.next(); item !== "end"; item = scanner.next()) {
    assert.equal(scanner.position, position);
    assert.ok(scanner.nextPosition > position && scanner.nextPosition <= segment.end);
    position = scanner.nextPosition;
    if (item !== "record") continue;
    const expected = (scanner.position - base + segmentHeaderBytes) & 0xff;
    assert.ok(
      scanner.body.every((byte) => byte === expected),
      "a body that nobody wrote",
    );
    records++;
  }
  assert.equal(position, segment.end);
  segment.close();
  return records;
}
