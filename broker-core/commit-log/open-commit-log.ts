import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { quarantineDirectory } from "../storage/quarantine.ts";
import type { Storage, StorageError } from "../storage/storage.ts";
import { CommitLog, type CommitLogConfig, commitLogDefaults, type LogStart } from "./commit-log.ts";
import type { DamageListener, DamageRange } from "./damage.ts";
import { readKnownDamage, reportDamage } from "./damage-report.ts";
import { DurableMark } from "./durable-mark.ts";
import { cutToEnd, writeFreshSegment } from "./fresh-segment.ts";
import type { LogRecord } from "./log.ts";
import { LogScanner } from "./log-scanner.ts";
import { findDurable, type ReplayResult, replay } from "./recovery.ts";
import { type TailAction, tailAction } from "./recovery-table.ts";
import { logDirectory, type Segment, segmentHeaderBytes } from "./segment.ts";
import { type FoundSegments, findSegments } from "./segment-finder.ts";
import { SegmentPool } from "./segment-pool.ts";

export interface OpenCommitLogOptions extends Partial<CommitLogConfig> {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  readonly metrics?: MetricRegistry;
  /** Where the log begins: what lies below was removed by retention and is not missed. Default 0: nothing ever was. */
  readonly begin?: number;
  /**
   * Where the replay begins: the position of a checkpoint, which must have been durable when it was made. Undefined replays
   * everything from `begin` on.
   */
  readonly from: number | undefined;
  /** A position that was durable for certain; left out: `from`. */
  readonly durable?: number;
  /** Every record from there on, in order of position. Its body is valid during the call. What it throws ends the opening. */
  readonly visit: (record: LogRecord) => void;
  /**
   * All that is there was read, and this release knows it: from here on the directory is changed. Default: nothing else to do.
   */
  readonly onRead?: () => Promise<void>;
  /** Is told of damage between the records around it. */
  readonly damage?: DamageListener;
  /** The disk failed: nothing is acknowledged any more and the process must end with exit code 74. Called once. */
  readonly onFailure: (error: StorageError) => void;
}

export interface RecoveryReport {
  /** Records handed to `visit`. */
  readonly recordCount: number;
  /** Position up to which the log was known to be on disk before this start. */
  readonly durable: number;
  /** Where the log goes on. */
  readonly end: number;
  /** What is lost, in order of position; also in `damage.json`. */
  readonly damage: readonly DamageRange[];
  readonly action: TailAction;
}

/**
 * Opens the log of a data directory: finds what is there, replays it, repairs the end (docs/log-format.md), and only then
 * hands over a log for traffic. Never throws because of damaged data. Throws `LogFormatError` for a log of a newer
 * release, of which it has changed nothing, and `StorageError` when the disk refuses.
 */
export async function openCommitLog(
  options: OpenCommitLogOptions,
): Promise<{ readonly log: CommitLog; readonly recovery: RecoveryReport }> {
  const { storage, clock, log } = options;
  const config = configOf(options);
  const metrics = options.metrics ?? new MetricRegistry();
  storage.makeDirectory(logDirectory);
  // A process before may have died between a rename and its sync: this one sees the name, a power cut would take it back.
  // Nothing may be cut or removed because of a file that is not certain to stay.
  await storage.syncDirectory(logDirectory);
  const mark = DurableMark.open(storage);
  const { begin = 0, from = begin } = options;
  const { tidy, ...all } = findSegments(storage, log);
  const { found, readableFrom } = leaveOutRemoved(all, begin);
  const durable = findDurable(found.live, Math.max(mark.position, options.durable ?? from));
  const report = readKnownDamage(storage);
  const known = report ?? [];
  const replayed = replay(found.live, from, durable, options.visit, options.damage, known);
  storage.makeDirectory(quarantineDirectory);
  await options.onRead?.();
  await tidy();
  await mark.make();
  metrics
    .gauge("popmesh_broker_log_damaged_ranges", "Lost ranges that the last start found.")
    .set(replayed.damage.length);
  if (report === undefined || replayed.damage.length + known.length > 0) {
    await reportDamage(storage, log, replayed.damage, replayed.end, clock.wallMs());
  }

  const tail = examineTail(found, replayed, durable);
  const pool = new SegmentPool(storage, log, metrics, config.segmentBytes);
  await pool.open();
  const ending: Ending = { ...replayed, begin: readableFrom, durable, mark, pool };
  const start =
    tail.action === "continue"
      ? await goOn(storage, found, tail, ending)
      : await beginAfresh(options, config, found, ending);
  // From here on damage to the tail is known as damage.
  if (mark.position !== start.end) await mark.write(start.end);

  const { damage, recordCount, end } = replayed;
  const recovery = { recordCount, durable, end, damage, action: tail.action };
  log.info({ ...recovery, damage: damage.length }, "the log is open");
  return { log: new CommitLog({ ...options, metrics }, config, start), recovery };
}

function configOf(options: OpenCommitLogOptions): CommitLogConfig {
  return {
    segmentBytes: options.segmentBytes ?? commitLogDefaults.segmentBytes,
    flush: options.flush ?? commitLogDefaults.flush,
    undurableBytesMax: options.undurableBytesMax ?? commitLogDefaults.undurableBytesMax,
    tailRingBytes: options.tailRingBytes ?? commitLogDefaults.tailRingBytes,
  };
}

/** What a start carries over into the open log. */
interface Ending extends ReplayResult {
  readonly begin: number;
  readonly durable: number;
  readonly mark: DurableMark;
  readonly pool: SegmentPool;
}

/**
 * What lies before `begin` is kept as far as it is there without a gap, because records behind it may point at it. Of a removal
 * that a power cut undid in part, files before a gap may be left: they go now.
 */
export function leaveOutRemoved(found: FoundSegments, begin: number): { found: FoundSegments; readableFrom: number } {
  let first = found.live.findIndex(({ segment }) => segment.end > begin);
  if (first < 0) first = found.live.length;
  let readableFrom = Math.min(begin, found.live[first]?.segment.base ?? begin);
  while (first > 0) {
    const { segment, reachesTo } = found.live[first - 1]!;
    // A file that was cut says in its header what it once could hold: the one that took over may have been removed.
    if (segment.end !== readableFrom || reachesTo < readableFrom) break;
    readableFrom = segment.base;
    first--;
  }
  const left = found.live.slice(0, first).map(({ segment }) => segment);
  return {
    found: { ...found, live: found.live.slice(first), superseded: [...found.superseded, ...left] },
    readableFrom: begin === 0 ? 0 : readableFrom,
  };
}

interface Tail {
  readonly action: TailAction;
  /** Index in `live` of the segment that holds the end of the log. */
  readonly at: number;
}

function examineTail(found: FoundSegments, { end, reachesDurable }: ReplayResult, durable: number): Tail {
  const at = found.live.findIndex(({ segment }) => segment.base <= end && end < segment.end);
  const holder = found.live[at];
  const usable = holder?.headerIntact === true && holder.isWhole;
  const hasResidue =
    usable &&
    found.live.slice(at).some(({ segment }) => new LogScanner(segment, Math.max(segment.base, end)).findsFrames());
  const next = found.live[at + 1];
  const followersFit =
    next === undefined || (next.isWhole && next.segment.base === holder?.segment.end && found.live.length === at + 2);
  const action = tailAction({
    lastSegmentUsable: usable && followersFit,
    reachesDurable,
    hasTail: end > durable,
    hasResidue,
  });
  return { action, at };
}

async function goOn(
  storage: Storage,
  found: FoundSegments,
  tail: Tail,
  { begin, end, nextSequence, mark, pool }: Ending,
): Promise<LogStart> {
  const segments = found.live.slice(0, tail.at + 1).map(({ segment }) => segment);
  await cleanUp(storage, segments, found.superseded, segments.at(-1));
  return {
    ...{ segments, begin, end, nextSequence, mark, pool },
    next: found.live[tail.at + 1]?.segment,
    lastOrdinal: found.lastOrdinal,
  };
}

async function beginAfresh(
  { storage, clock, randomness }: OpenCommitLogOptions,
  config: CommitLogConfig,
  found: FoundSegments,
  { begin, end, nextSequence, durable, mark, pool }: Ending,
): Promise<LogStart> {
  const usualBytes = config.segmentBytes - segmentHeaderBytes;
  const tailBytes = end - durable;
  const lastOrdinal = found.lastOrdinal + 1;
  const old = found.live.map(({ segment }) => segment);
  const fresh = await writeFreshSegment(
    storage,
    {
      epoch: { ordinal: lastOrdinal, nonce: randomness.uint32() },
      base: durable,
      // A tail of several segments (`flush: "async"`) goes into one, so that one rename decides.
      capacityBytes: tailBytes > usualBytes / 2 ? usualBytes + tailBytes : usualBytes,
      durableUpTo: durable,
      createdWallMs: Math.floor(clock.wallMs()),
    },
    old,
    end,
    pool,
  );
  for (const segment of old) segment.close();
  const kept = old.filter((segment) => segment.base < durable);
  const replaced = old.filter((segment) => segment.base >= durable);
  const before = kept.at(-1);
  if (before !== undefined) before.end = Math.min(before.end, durable);
  const removed = [...found.superseded, ...replaced].filter((segment) => segment.path !== fresh.path);
  await cleanUp(storage, kept, removed, undefined);
  return { segments: [...kept, fresh], begin, end, nextSequence, next: undefined, lastOrdinal, mark, pool };
}

/** Ends what a recovery, this one or one that was interrupted, has made obsolete. The file in use stays open. */
async function cleanUp(
  storage: Storage,
  kept: readonly Segment[],
  obsolete: readonly Segment[],
  inUse: Segment | undefined,
): Promise<void> {
  for (const segment of kept) {
    await cutToEnd(segment);
    if (segment !== inUse) segment.close();
  }
  for (const segment of obsolete) {
    segment.close();
    storage.unlink(segment.path);
  }
  if (obsolete.length > 0) await storage.syncDirectory(logDirectory);
}
