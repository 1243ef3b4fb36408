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

/**
 * Finds the segments of the log. A file is known by its header, not by its name: one under a wrong name gets its own back,
 * one that nothing identifies is quarantined. Files that were never finished (`.tmp`) are removed.
 */
export async function findSegments(storage: Storage, log: Log): Promise<FoundSegments> {
  let directoryChanged = false;
  const found: FoundSegment[] = [];
  for (const name of storage.list(logDirectory)) {
    const path = `${logDirectory}/${name}`;
    if (name.endsWith(".tmp")) {
      storage.unlink(path);
      directoryChanged = true;
      continue;
    }
    const match = liveName.exec(name);
    if (match === null) continue;
    const entry = identify(storage, path, Number(match[1]));
    const surplus = entry === undefined ? path : takeIn(found, entry);
    if (surplus === undefined) continue;
    const target = quarantine(storage, surplus);
    log.error({ path: surplus, target }, "a file of the log names no place of its own in it; it was moved");
    directoryChanged = true;
  }
  const named = rightNames(storage, found, log);
  if (directoryChanged || named !== found) {
    await storage.syncDirectory(logDirectory);
    await storage.syncDirectory(quarantineDirectory);
  }
  return supersede(named);
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
    return {
      segment: new Segment(storage, path, header),
      durableUpTo: header.durableUpTo,
      headerIntact: true,
      isWhole: sizeBytes === segmentHeaderBytes + header.capacityBytes,
      reachesTo: header.base + sizeBytes - segmentHeaderBytes,
    };
  }
  const capacityBytes = Math.max(0, sizeBytes - segmentHeaderBytes);
  const epoch = findEpoch(storage, path, capacityBytes, baseOfName);
  if (epoch === undefined) return undefined;
  const segment = new Segment(storage, path, { base: baseOfName, epoch, capacityBytes });
  return { segment, durableUpTo: 0, headerIntact: false, isWhole: false, reachesTo: segment.end };
}

/** Adds a file; of two copies of the same one, that under its own name stays, and the other's path is returned. */
function takeIn(found: FoundSegment[], entry: FoundSegment): string | undefined {
  const { epoch, path, base } = entry.segment;
  const twinAt = found.findIndex(
    ({ segment }) => segment.epoch.ordinal === epoch.ordinal && segment.epoch.nonce === epoch.nonce,
  );
  const twin = found[twinAt];
  if (twin === undefined) {
    found.push(entry);
    return undefined;
  }
  if (path !== segmentPath(base)) return path;
  found[twinAt] = entry;
  return twin.segment.path;
}

/** Puts swapped files back. In two steps, so that a crash in between leaves names that the next start understands. */
function rightNames(storage: Storage, found: FoundSegment[], log: Log): FoundSegment[] {
  const misnamed = found.filter(({ segment }) => segment.path !== segmentPath(segment.base));
  if (misnamed.length === 0) return found;
  for (const { segment } of misnamed) {
    log.warn({ path: segment.path, base: segment.base }, "a file of the log has a wrong name; it gets its own back");
    if (segment.path !== asidePath(segment)) storage.rename(segment.path, asidePath(segment));
  }
  return found.map((entry) => {
    const { segment } = entry;
    const right = segmentPath(segment.base);
    if (segment.path === right) return entry;
    if (storage.exists(right)) quarantine(storage, right);
    storage.rename(asidePath(segment), right);
    return { ...entry, segment: new Segment(storage, right, segment) };
  });
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
