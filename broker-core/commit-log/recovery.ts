import type { DamageListener, DamageRange, KnownDamage } from "./damage.ts";
import { knownRecordTypes, type LogRecord, type RecordType } from "./log.ts";
import { LogFormatError } from "./log-format-error.ts";
import { type BatchHeader, batchHeaderBytes } from "./log-frame.ts";
import { LogScanner } from "./log-scanner.ts";
import { stretchAction } from "./recovery-table.ts";
import { type Segment, segmentPath } from "./segment.ts";
import type { FoundSegment } from "./segment-finder.ts";

/**
 * The position up to which the log was certainly on disk: the highest that any intact witness names. The youngest batch
 * knows most, so the segments are asked from the last one back until one has a batch. It does not matter how many bad
 * spots lie before that batch: it proves that they were durable once.
 */
export function findDurable(live: readonly FoundSegment[], floor: number): number {
  let durable = floor;
  for (const { durableUpTo } of live) durable = Math.max(durable, durableUpTo);
  for (const { segment } of [...live].reverse()) {
    if (segment.end <= durable) break;
    const scanner = new LogScanner(segment, Math.max(segment.base, Math.min(floor, segment.end)), true);
    let batches = 0;
    for (let item = scanner.next(); item !== "end"; item = scanner.next()) {
      if (item !== "batch") continue;
      batches++;
      durable = Math.max(durable, scanner.batch.durableUpTo);
    }
    if (batches > 0) break;
  }
  return durable;
}

/** What the replay leaves for the decision on how to go on. */
export interface ReplayResult {
  /** Where the log ends: nothing at or above is served. */
  readonly end: number;
  /** False when what lay right before `end` is lost. */
  readonly reachesDurable: boolean;
  readonly nextSequence: number;
  readonly damage: readonly DamageRange[];
  readonly recordCount: number;
}

/**
 * Hands every record that is still there to `visit`, in order, and tells what is lost (recovery-table.ts). `known`: what earlier
 * starts have lost, in order of position; nothing of it is handed to anybody, whether it can be read today or not.
 */
export function replay(
  live: readonly FoundSegment[],
  from: number,
  durable: number,
  visit: (record: LogRecord) => void,
  listener?: DamageListener,
  known: readonly KnownDamage[] = [],
): ReplayResult {
  const tally = new DamageTally();
  const memory = new DamageMemory(known, listener);
  let position = from;
  let end: number | undefined;
  let reachesDurable = true;
  let recordCount = 0;

  const lose = (lostFrom: number, lostTo: number, path: string, records: number | undefined): void => {
    tally.add(lostFrom, lostTo, path, records);
    memory.tell(lostFrom, lostTo);
  };
  /** True when the log ends with this stretch. */
  const meetBad = (stretchFrom: number, stretchTo: number, path: string, records: number | undefined): boolean => {
    const action = stretchAction(false, stretchFrom, stretchTo, durable);
    if (action !== "end") lose(stretchFrom, Math.min(stretchTo, durable), path, records);
    if (action === "report damage") return false;
    end = Math.max(stretchFrom, durable);
    reachesDurable = action === "end";
    return true;
  };

  for (const { segment } of live) {
    if (segment.end <= position) continue;
    if (segment.base > position && meetBad(position, segment.base, segmentPath(position), undefined)) break;
    const scanner = new LogScanner(segment, Math.max(position, segment.base));
    let batchWithoutRecord = -1;
    let stopped = false;
    for (let item = scanner.next(); item !== "end" && !stopped; item = scanner.next()) {
      if (item === "batch") {
        tally.batch(scanner.batch);
        batchWithoutRecord = scanner.batch.recordCount > 0 ? scanner.position : -1;
      } else if (item === "record" && memory.isLost(scanner.position)) {
        lose(scanner.position, scanner.nextPosition, segment.path, 1);
      } else if (item === "record") {
        memory.reach(scanner.position);
        if (!knownRecordTypes.has(scanner.type)) throw unknownType(scanner.type, scanner.position, segment);
        visit({
          position: scanner.position,
          type: scanner.type as RecordType,
          body: scanner.body,
          nextPosition: scanner.nextPosition,
        });
        recordCount++;
        tally.record();
        batchWithoutRecord = -1;
      } else {
        const records = item === "damaged-record" ? 1 : undefined;
        stopped = meetBad(scanner.position, scanner.nextPosition, segment.path, records);
        // A batch header whose first record is already torn announces nothing: the log ends before it.
        if (stopped && end === batchWithoutRecord + batchHeaderBytes) end = Math.max(durable, batchWithoutRecord);
      }
      position = scanner.nextPosition;
    }
    if (stopped) break;
  }
  if (end === undefined && position < durable) {
    meetBad(position, durable, segmentPath(position), undefined);
    end = durable;
    reachesDurable = false;
  }
  tally.finish();
  return {
    end: end ?? position,
    reachesDurable,
    nextSequence: tally.sequence,
    damage: tally.ranges,
    recordCount,
  };
}

/** Goes along the log with the damage of earlier starts, and tells from where on all that is lost was known. */
class DamageMemory {
  readonly #known: readonly KnownDamage[];
  readonly #listener: DamageListener | undefined;
  /** Records from here on were written in knowledge of all that was told; undefined: nothing was told since they were. */
  #knownFrom: number | undefined;
  #at = 0;

  constructor(known: readonly KnownDamage[], listener: DamageListener | undefined) {
    this.#known = known;
    this.#listener = listener;
  }

  isLost(position: number): boolean {
    const known = this.#known;
    while (this.#at < known.length && known[this.#at]!.to <= position) this.#at++;
    return this.#at < known.length && known[this.#at]!.from <= position;
  }

  tell(from: number, to: number): void {
    const earlier = this.#known.find((range) => range.from <= from && to <= range.to);
    this.#knownFrom = Math.max(this.#knownFrom ?? 0, earlier?.knownFrom ?? Number.POSITIVE_INFINITY);
    this.#listener?.lost(from, to);
  }

  /** A record comes. */
  reach(position: number): void {
    if (this.#knownFrom === undefined || position < this.#knownFrom) return;
    this.#knownFrom = undefined;
    this.#listener?.known();
  }
}

/** Collects lost ranges and counts their records: each batch says how many came before it, and how many it holds. */
class DamageTally {
  readonly ranges: { from: number; to: number; recordCount: number | undefined; path: string }[] = [];
  /** Number of the next record; undefined until the first batch tells. */
  #sequence: number | undefined;
  #countedRanges = 0;
  #batchEnd = 0;
  #batchEndSequence = 0;

  /** After `finish`, the number of the next record to be written. */
  get sequence(): number {
    return this.#sequence ?? 0;
  }

  batch({ position, length, firstSequence, recordCount }: Readonly<BatchHeader>): void {
    this.#reach(firstSequence);
    this.#batchEnd = position + length;
    this.#batchEndSequence = firstSequence + recordCount;
  }

  /** No batch follows: the last one still tells what of itself is missing. */
  finish(): void {
    const last = this.ranges.at(-1);
    if (last !== undefined && this.#countedRanges < this.ranges.length && last.to <= this.#batchEnd) {
      this.#reach(this.#batchEndSequence);
    }
  }

  #reach(sequence: number): void {
    const missing = this.#sequence === undefined ? undefined : Math.max(0, sequence - this.#sequence);
    for (let i = this.#countedRanges; i < this.ranges.length; i++) {
      const range = this.ranges[i]!;
      if (range.recordCount === undefined && missing !== undefined) {
        range.recordCount = i === this.ranges.length - 1 ? missing : 0;
      }
    }
    this.#countedRanges = this.ranges.length;
    this.#sequence = sequence;
  }

  record(): void {
    if (this.#sequence !== undefined) this.#sequence++;
  }

  add(from: number, to: number, path: string, recordCount: number | undefined): void {
    if (recordCount !== undefined) this.record();
    this.ranges.push({ from, to, recordCount, path });
  }
}

function unknownType(type: number, position: number, segment: Segment): LogFormatError {
  const where = `${segment.path}, log position ${position}`;
  return new LogFormatError(`record of type ${type} (${where}) is unknown to this release`);
}
