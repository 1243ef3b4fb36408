import type { Log } from "../../proto/runtime/log.ts";
import { quarantine, quarantineDirectory } from "../storage/quarantine.ts";
import type { Storage } from "../storage/storage.ts";
import { findEpoch } from "./log-scanner.ts";
import { decodeSegmentHeader, logDirectory, Segment, segmentHeaderBytes, segmentPath } from "./segment.ts";

/** A segment file as a start finds it. */
export interface FoundSegment {
  readonly segment: Segment;
  /** Its header says that everything below was on disk when it was made; 0 when the header is lost. */
  readonly durableUpTo: number;
  readonly headerIntact: boolean;
  /** The file has its full size. */
  readonly isWhole: boolean;
  /** Position behind the last byte that the file has room for: below the segment's end when it was cut, or is damaged. */
  readonly reachesTo: number;
}

export interface FoundSegments {
  /** In order of position; where files overlap the younger one rules, and the older one's `end` says so. */
  readonly live: readonly FoundSegment[];
  /** Files whose whole range was written anew by an earlier recovery that did not get to remove them. */
  readonly superseded: readonly Segment[];
  readonly lastOrdinal: number;
}

const liveName = /^(\d{20})\.(?:log|moved)$/;

/** The segments, and what a start does about files that are not as they should be. */
export interface FoundLog extends FoundSegments {
  /** Puts names right, removes drafts, moves aside what nothing identifies: once the log was read and this release knows it. */
  readonly tidy: () => Promise<void>;
}

/**
 * Finds the segments of the log and changes nothing. A file is known by its header, not by its name: one under a wrong name is
 * to get its own back, one that nothing identifies goes to quarantine. Files that were never finished (`.tmp`) are left out.
 * Throws `LogFormatError`.
 */
export function findSegments(storage: Storage, log: Log): FoundLog {
  const drafts: string[] = [];
  const surplus: string[] = [];
  const found: FoundSegment[] = [];
  for (const name of storage.list(logDirectory)) {
    const path = `${logDirectory}/${name}`;
    if (name.endsWith(".tmp")) drafts.push(path);
    const match = liveName.exec(name);
    if (match === null) continue;
    const entry = identify(storage, path, Number(match[1]));
    const unplaced = entry === undefined ? path : takeIn(found, entry);
    if (unplaced === undefined) continue;
    surplus.push(unplaced);
    log.error({ path: unplaced }, "a file of the log names no place of its own in it; it is moved to quarantine");
  }
  const misnamed = found.map(({ segment }) => segment).filter(({ foundAt }) => foundAt !== undefined);
  for (const { foundAt, base } of misnamed) {
    log.warn({ path: foundAt, base }, "a file of the log has a wrong name; it gets its own back");
  }
  const tidy = async (): Promise<void> => {
    for (const path of drafts) storage.unlink(path);
    for (const path of surplus) quarantine(storage, path);
    rightNames(storage, misnamed);
    if (drafts.length + surplus.length + misnamed.length === 0) return;
    await storage.syncDirectory(logDirectory);
    await storage.syncDirectory(quarantineDirectory);
  };
  return { ...supersede(found), tidy };
}

function identify(storage: Storage, path: string, baseOfName: number): FoundSegment | undefined {
  const file = storage.open(path, { create: false });
  const sizeBytes = file.sizeBytes();
  const headerBytes = Buffer.alloc(segmentHeaderBytes);
  try {
    file.read(headerBytes, 0, segmentHeaderBytes, 0);
  } catch {
    headerBytes.fill(0); // Unreadable: as lost as overwritten.
  }
  const header = decodeSegmentHeader(headerBytes);
  file.close();
  if (header !== undefined) {
    const segment = new Segment(storage, segmentPath(header.base), header);
    if (path !== segment.path) segment.foundAt = path;
    return {
      segment,
      durableUpTo: header.durableUpTo,
      headerIntact: true,
      isWhole: sizeBytes === segmentHeaderBytes + header.capacityBytes,
      reachesTo: header.base + sizeBytes - segmentHeaderBytes,
    };
  }
  const capacityBytes = Math.max(0, sizeBytes - segmentHeaderBytes);
  const epoch = findEpoch(storage, path, capacityBytes, baseOfName);
  if (epoch === undefined) return undefined;
  const segment = new Segment(storage, segmentPath(baseOfName), { base: baseOfName, epoch, capacityBytes });
  if (path !== segment.path) segment.foundAt = path;
  return { segment, durableUpTo: 0, headerIntact: false, isWhole: false, reachesTo: segment.end };
}

/** Adds a file; of two copies of the same one, that under its own name stays, and the other's path is returned. */
function takeIn(found: FoundSegment[], entry: FoundSegment): string | undefined {
  const { epoch, foundAt } = entry.segment;
  const twinAt = found.findIndex(
    ({ segment }) => segment.epoch.ordinal === epoch.ordinal && segment.epoch.nonce === epoch.nonce,
  );
  const twin = found[twinAt];
  if (twin === undefined) {
    found.push(entry);
    return undefined;
  }
  if (foundAt !== undefined) return foundAt;
  found[twinAt] = entry;
  return twin.segment.foundAt;
}

/** Puts swapped files back. In two steps, so that a crash in between leaves names that the next start understands. */
function rightNames(storage: Storage, misnamed: readonly Segment[]): void {
  for (const segment of misnamed) {
    if (segment.foundAt !== asidePath(segment)) storage.rename(segment.foundAt!, asidePath(segment));
    segment.foundAt = asidePath(segment);
  }
  for (const segment of misnamed) {
    if (storage.exists(segment.path)) quarantine(storage, segment.path);
    storage.rename(segment.foundAt!, segment.path);
    segment.foundAt = undefined;
  }
}

function asidePath(segment: Segment): string {
  return segmentPath(segment.base).replace(/log$/, "moved");
}

function supersede(found: readonly FoundSegment[]): FoundSegments {
  const live: FoundSegment[] = [];
  const superseded: Segment[] = [];
  let lastOrdinal = 0;
  for (const entry of [...found].sort((a, b) => a.segment.epoch.ordinal - b.segment.epoch.ordinal)) {
    const { segment } = entry;
    lastOrdinal = Math.max(lastOrdinal, segment.epoch.ordinal);
    while (live.length > 0 && live.at(-1)!.segment.base >= segment.base) superseded.push(live.pop()!.segment);
    const before = live.at(-1)?.segment;
    if (before !== undefined) before.end = Math.min(before.end, segment.base);
    live.push(entry);
  }
  return { live, superseded, lastOrdinal };
}
