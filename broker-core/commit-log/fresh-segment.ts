import type { Storage } from "../storage/storage.ts";
import { encodeBatchHeader, encodeRecordHeader, recordHeaderBytes } from "./log-frame.ts";
import { LogScanner } from "./log-scanner.ts";
import { type Segment, SegmentDraft, type SegmentHeader, segmentHeaderBytes } from "./segment.ts";
import type { SegmentPool } from "./segment-pool.ts";

/**
 * Makes the segment that begins at `header.base` and writes into it, at their old positions, all frames of `old` in
 * [header.base, end). When this resolves they are on disk, whatever the page cache showed before.
 */
export async function writeFreshSegment(
  storage: Storage,
  header: SegmentHeader,
  old: readonly Segment[],
  end: number,
  pool: SegmentPool,
): Promise<Segment> {
  const draft = new SegmentDraft(storage, header, pool.take(segmentHeaderBytes + header.capacityBytes));
  draft.fill(header.capacityBytes);
  for (const segment of old) {
    if (segment.end > header.base && segment.base < end)
      copyFrames(segment, Math.max(segment.base, header.base), end, draft);
  }
  return draft.finish();
}

/** Frames are the same but for what ties them to their file: the epoch, and with it the CRCs of their headers. */
function copyFrames(segment: Segment, from: number, end: number, draft: SegmentDraft): void {
  const { epoch, base } = draft.header;
  const scanner = new LogScanner(segment, from);
  for (let item = scanner.next(); item !== "end" && scanner.position < end; item = scanner.next()) {
    const bytes = Buffer.from(scanner.itemBytes());
    if (item === "batch") {
      const length = Math.min(scanner.batch.length, end - scanner.position);
      encodeBatchHeader(bytes, 0, { ...scanner.batch, length, durableUpTo: base }, epoch);
      draft.writeAt(bytes, Math.min(bytes.length, length), scanner.position);
    } else if (item === "record") {
      encodeRecordHeader(bytes, 0, scanner.type, bytes.length - recordHeaderBytes, scanner.position, epoch.nonce);
      draft.writeAt(bytes, bytes.length, scanner.position);
    }
  }
}

/** Cuts off what lies behind `segment.end`, so that no later start can take it for part of the log. */
export async function cutToEnd(segment: Segment): Promise<void> {
  const wantedBytes = segmentHeaderBytes + segment.end - segment.base;
  if (segment.file.sizeBytes() <= wantedBytes) return;
  segment.file.truncate(wantedBytes);
  await segment.file.sync();
}
