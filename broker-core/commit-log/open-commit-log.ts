import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { quarantineDirectory } from "../storage/quarantine.ts";
import type { Storage, StorageError } from "../storage/storage.ts";
import { CommitLog, type CommitLogConfig, commitLogDefaults, type LogStart } from "./commit-log.ts";
import type { DamageRange } from "./damage.ts";
import { reportDamage } from "./damage-report.ts";
import { DurableMark } from "./durable-mark.ts";
import { cutToEnd, writeFreshSegment } from "./fresh-segment.ts";
import type { LogRecord } from "./log.ts";
import { LogScanner } from "./log-scanner.ts";
import { findDurable, type ReplayResult, replay } from "./recovery.ts";
import { type TailAction, tailAction } from "./recovery-table.ts";
import { logDirectory, type Segment, segmentHeaderBytes } from "./segment.ts";
import { type FoundSegments, findSegments } from "./segment-finder.ts";

export interface OpenCommitLogOptions extends Partial<CommitLogConfig> {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  readonly metrics?: MetricRegistry;
  /**
   * Where the replay begins: the position of a checkpoint, which must have been durable when it was made. Undefined replays
   * everything.
   */
  readonly from: number | undefined;
  /** Every record from there on, in order of position. Its body is valid during the call. What it throws ends the opening. */
  readonly visit: (record: LogRecord) => void;
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
 * release and `StorageError` when the disk refuses.
 */
export async function openCommitLog(
  options: OpenCommitLogOptions,
): Promise<{ readonly log: CommitLog; readonly recovery: RecoveryReport }> {
  const { storage, clock, log } = options;
  const config = configOf(options);
  const metrics = options.metrics ?? new MetricRegistry();
  storage.makeDirectory(logDirectory);
  storage.makeDirectory(quarantineDirectory);
  // A process before may have died between a rename and its sync: this one sees the name, a power cut would take it back.
  // Nothing may be cut or removed because of a file that is not certain to stay.
  await storage.syncDirectory(logDirectory);
  const mark = await DurableMark.open(storage);
  const found = await findSegments(storage, log);

  const durable = findDurable(found.live, Math.max(mark.position, options.from ?? 0));
  const replayed = replay(found.live, options.from ?? 0, durable, options.visit);
  metrics
    .gauge("popmesh_broker_log_damaged_ranges", "Lost ranges that the last start found.")
    .set(replayed.damage.length);
  if (replayed.damage.length > 0) await reportDamage(storage, log, replayed.damage, clock.wallMs());

  const tail = examineTail(found, replayed, durable);
  const start =
    tail.action === "continue"
      ? await goOn(storage, found, tail, replayed, mark)
      : await beginAfresh(options, config, found, replayed, durable, mark);
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
    usable && found.live.slice(at).some(({ segment }) => hasBytes(segment, Math.max(segment.base, end)));
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

function hasBytes(segment: Segment, from: number): boolean {
  return new LogScanner(segment, from).firstNonZero(from) < segment.end;
}

async function goOn(
  storage: Storage,
  found: FoundSegments,
  tail: Tail,
  replayed: ReplayResult,
  mark: DurableMark,
): Promise<LogStart> {
  const segments = found.live.slice(0, tail.at + 1).map(({ segment }) => segment);
  await cleanUp(storage, segments, found.superseded, segments.at(-1));
  return {
    segments,
    end: replayed.end,
    nextSequence: replayed.nextSequence,
    next: found.live[tail.at + 1]?.segment,
    lastOrdinal: found.lastOrdinal,
    mark,
  };
}

async function beginAfresh(
  { storage, clock, randomness }: OpenCommitLogOptions,
  config: CommitLogConfig,
  found: FoundSegments,
  { end, nextSequence }: ReplayResult,
  durable: number,
  mark: DurableMark,
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
  );
  for (const segment of old) segment.close();
  const kept = old.filter((segment) => segment.base < durable);
  const replaced = old.filter((segment) => segment.base >= durable);
  const before = kept.at(-1);
  if (before !== undefined) before.end = Math.min(before.end, durable);
  const removed = [...found.superseded, ...replaced].filter((segment) => segment.path !== fresh.path);
  await cleanUp(storage, kept, removed, undefined);
  return { segments: [...kept, fresh], end, nextSequence, next: undefined, lastOrdinal, mark };
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
