import { strict as assert } from "node:assert";
import { Code } from "../../proto/code.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { type Storage, StorageError } from "../storage/storage.ts";
import {
  type AdmissionLimits,
  admissionLimits,
  isAwaited,
  isDiskShort,
  limitOf,
  refusal,
  reserveBytes,
  reserveBytesMax,
} from "./admission.ts";
import { BatchBuilder } from "./batch-builder.ts";
import type { DurableMark } from "./durable-mark.ts";
import { GroupSync } from "./group-sync.ts";
import { IdleMark } from "./idle-mark.ts";
import type { LogReader, LogRecord, LogWriter, RecordType } from "./log.ts";
import { LogCounters } from "./log-counters.ts";
import { batchHeaderBytes, recordHeaderBytes } from "./log-frame.ts";
import { LogHistory } from "./log-history.ts";
import { PositionWaiters } from "./position-waiters.ts";
import { ReadAhead } from "./read-ahead.ts";
import { RecordReader } from "./record-reader.ts";
import { type Segment, type SegmentHeader, segmentHeaderBytes } from "./segment.ts";
import { SegmentList, youngestKept } from "./segment-list.ts";
import type { SegmentPool } from "./segment-pool.ts";
import { SegmentPreparer } from "./segment-preparer.ts";
import { TailRing } from "./tail-ring.ts";

export interface CommitLogConfig {
  /** Size of a segment file. A record must fit into one. */
  readonly segmentBytes: number;
  /** "sync": `durablePosition` moves after fdatasync returned 0. "async": it moves with `writtenPosition`, and a power cut loses up to 500 ms of what was acknowledged. */
  readonly flush: "sync" | "async";
  /** Above this many bytes written and not yet durable, messages are refused. */
  readonly undurableBytesMax: number;
  /** The youngest part of the log kept in memory for readers; 0 for none. */
  readonly tailRingBytes: number;
}

export const commitLogDefaults: CommitLogConfig = {
  segmentBytes: 64 * 1024 * 1024,
  flush: "sync",
  undurableBytesMax: 64 * 1024 * 1024,
  tailRingBytes: 8 * 1024 * 1024,
};

/** What one fdatasync should not exceed: larger groups only make those in front wait (reference: 1 MiB). */
const batchBytesMax = 1024 * 1024;
/** One message of 4 MiB with all its properties, and room to spare. */
export const recordBytesMax = 8 * 1024 * 1024;
assert(recordBytesMax < reserveBytesMax);
/** The longest record that points at another (log.ts, `youngPosition`). */
const referringBytesMax = 64 * 1024;
const asyncFlushMs = 500;
/** How long hand-outs alone stay in the page cache; usually the next send or ack takes them along sooner. */
const lazySyncMs = 20;
const probePeriodMs = 1000;
const syncSlowMs = 1000;
const syncStuckMs = 10_000;

/** What recovery hands over. */
export interface LogStart {
  readonly segments: readonly Segment[];
  /** The last of `segments` takes the next record at this position; everything below is durable. */
  readonly end: number;
  readonly nextSequence: number;
  /** A segment that stands ready behind the last one. */
  readonly next: Segment | undefined;
  /** Highest ordinal ever given to a segment. */
  readonly lastOrdinal: number;
  /** Nothing below is part of the log: retention has removed it. */
  readonly begin: number;
  readonly pool: SegmentPool;
  readonly mark: DurableMark;
}

export interface CommitLogDoors {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  readonly metrics: MetricRegistry;
  /** The disk failed: nothing is acknowledged any more and the process must end with exit code 74. Called once. */
  readonly onFailure: (error: StorageError) => void;
}

/** A batch on its way into the page cache. */
interface Unwritten {
  readonly segment: Segment;
  readonly position: number;
  readonly count: number;
  /** Where the log stands once it is written. */
  readonly end: number;
}

/** The log over the storage door (docs/log-format.md). Made by `openCommitLog`. */
export class CommitLog implements LogWriter, LogReader {
  onDurable: ((durablePosition: number) => void) | undefined;

  readonly #doors: CommitLogDoors;
  readonly #config: CommitLogConfig;
  readonly #isSync: boolean;
  readonly #segments: SegmentList;
  readonly #batch: BatchBuilder;
  readonly #ring: TailRing;
  readonly #reader: RecordReader;
  /** For readers of old parts, who shall not wait for the disk on the event loop. */
  readonly readAhead: ReadAhead;
  readonly #sync: GroupSync;
  readonly #pool: SegmentPool;
  readonly #preparer: SegmentPreparer;
  readonly #mark: IdleMark;
  readonly #writtenWaiters = new PositionWaiters();
  readonly #durableWaiters = new PositionWaiters();
  readonly #timers: Timer[];
  readonly #counters: LogCounters;

  #current: Segment;
  #end: number;
  #written: number;
  #lastOrdinal: number;
  #limits: AdmissionLimits = { messages: -1, releases: -1, others: -1 };
  #unwritten: Unwritten | undefined;
  #obstacle: StorageError | undefined;
  #fault: StorageError | undefined;
  #closed = false;
  #turnEndAsked = false;
  #isDiskShort = false;
  #syncSlowReported = false;

  constructor(doors: CommitLogDoors, config: CommitLogConfig, start: LogStart) {
    this.#doors = doors;
    this.#config = config;
    this.#isSync = config.flush === "sync";
    this.#segments = new SegmentList(start.segments, start.begin);
    this.#current = start.segments.at(-1) as Segment;
    this.#batch = new BatchBuilder(Math.min(batchBytesMax, config.segmentBytes), start.nextSequence);
    this.#ring = new TailRing(config.tailRingBytes, start.end);
    this.#end = start.end;
    this.#written = start.end;
    this.#lastOrdinal = start.lastOrdinal;
    this.#counters = new LogCounters(doors.metrics);
    this.readAhead = new ReadAhead(this.#segments, this.#ring, () => this.#written, this.#counters.readAheadBytes);
    this.#reader = new RecordReader(this.#segments, this.#ring, this.readAhead, (path, from, to) => {
      this.#counters.damagedReads.add();
      doors.log.error({ path, from, to }, "a record is damaged");
    });
    this.#sync = new GroupSync(start.end, doors.clock, this.#isSync ? lazySyncMs : asyncFlushMs, {
      ended: (seconds) => this.#syncEnded(seconds),
      durable: () => this.#becameDurable(),
      failed: (error) => this.#fail(error),
    });
    this.#mark = new IdleMark(start.mark, doors.clock, this.#sync, (error) => this.#fail(error));
    this.#pool = start.pool;
    this.#preparer = new SegmentPreparer(
      doors.storage,
      doors.clock,
      this.#pool,
      this.#counters,
      () => this.#updateLimits(),
      (error) => this.#fail(error),
    );
    this.#preparer.start(this.#nextHeader(), start.next);
    this.#timers = [doors.clock.every(probePeriodMs, () => this.#probe())];
    this.#updateLimits();
  }

  get youngPosition(): number {
    // The record may be the first of the next segment: then the one in use is the segment before its own.
    const mayRoll = this.#current.end - this.#end < referringBytesMax + 2 * batchHeaderBytes;
    return (mayRoll ? this.#current : (this.#segments.all.at(-youngestKept) ?? this.#current)).base;
  }

  get takesMessages(): boolean {
    return this.#end < this.#limits.messages;
  }

  get takesReleases(): boolean {
    return this.#end < this.#limits.releases;
  }

  /** The log for those who look through it. */
  get history(): LogHistory {
    return new LogHistory(this.#segments, () => this.#written);
  }

  get endPosition(): number {
    return this.#end;
  }

  get writtenPosition(): number {
    return this.#written;
  }

  get durablePosition(): number {
    return this.#isSync ? this.#sync.durable : this.#written;
  }

  /** Everything below is on disk, whatever `flush` says: a checkpoint may stand here. */
  get syncedPosition(): number {
    return this.#sync.durable;
  }

  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    const total = recordHeaderBytes + length;
    this.#makeRoom(type, length, total);
    if (!this.#batch.isOpen) this.#batch.open(this.#end, this.#current.epoch);
    let position: number;
    try {
      position = this.#batch.add(type, length, fill);
    } catch (error) {
      this.#batch.abandonIfEmpty();
      throw error;
    }
    this.#end = position + total;
    if (this.#isSync && isAwaited(type)) this.#sync.want(this.#end);
    if (!this.#turnEndAsked) {
      this.#turnEndAsked = true;
      this.#doors.clock.atTurnEnd(this.#endTurn);
    }
    return position;
  }

  whenWritten(position: number, action: () => void): void {
    if (this.#written > position) action();
    else this.#writtenWaiters.add(position, action);
  }

  whenDurable(position: number, action: () => void): void {
    if (this.durablePosition > position) {
      action();
      return;
    }
    this.#durableWaiters.add(position, action);
    if (!this.#isSync) return;
    this.#sync.want(position + 1);
    if (position < this.#written) this.#sync.start();
  }

  read(position: number): LogRecord {
    if (position >= this.#written) throw new RangeError(`log position ${position} is not written yet`);
    return this.#reader.read(position);
  }

  /** The files of the log in order of position, the one in use last. */
  get segments(): { readonly base: number; readonly end: number; readonly bytes: number }[] {
    return this.#segments.all.map(({ base, end }) => ({ base, end, bytes: segmentHeaderBytes + end - base }));
  }

  /** The first position that is part of the log. */
  get begin(): number {
    return this.#segments.begin;
  }

  /**
   * Takes whole segments below `position` out of the log, never the two youngest; no read finds them from now on. Their files
   * go, or become the next segments with `keepsSpares`, when nobody reads them any more. The caller has seen to it that no
   * start needs them (broker-core/retention). Resolves with their number when that is on disk, or refused by it; never rejects.
   */
  async removeBelow(position: number, keepsSpares: boolean): Promise<number> {
    const removed = this.#segments.removeBelow(position);
    await this.#pool.retire(removed, keepsSpares);
    this.#counters.removedSegments.add(removed.length);
    return removed.length;
  }

  /** Writes and syncs what is there, leaves the mark of a clean end and closes the files. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#fault === undefined) {
      this.#endTurn();
      if (this.#unwritten === undefined) await this.#sync.drain();
      if (this.#fault === undefined) await this.#mark.writeNow();
    }
    this.abandon();
    await this.readAhead.idle();
    this.#preparer.ready?.close();
    this.#segments.closeAll();
    this.#mark.close();
  }

  /** Stops every timer and callback and leaves the disk as it is: what the end of the process does. */
  abandon(): void {
    this.#closed = true;
    this.#sync.stop();
    this.#preparer.stop();
    this.#mark.stop();
    this.readAhead.stop();
    for (const timer of this.#timers) timer.cancel();
    this.#updateLimits();
  }

  /** Throws `MeshError` unless the record has a place in the current segment and in the open batch or a new one. */
  #makeRoom(type: RecordType, length: number, total: number): void {
    const framed = total + 2 * batchHeaderBytes; // its batch's header, and the skip that may have to follow
    if (total > recordBytesMax || framed > this.#config.segmentBytes - segmentHeaderBytes) {
      throw new MeshError(Code.PayloadTooLarge, `a record of ${length} bytes does not fit into the broker's log`);
    }
    this.#admit(type, total);
    if (this.#batch.isOpen && this.#batch.bytes + total > batchBytesMax) this.#writeBatch(false);
    if (this.#end + framed > this.#current.end) {
      if (this.#preparer.ready === undefined) throw this.refusal();
      if (this.#end < this.#current.end) this.#writeBatch(true);
      if (this.#unwritten === undefined) this.#roll();
    }
    if (this.#unwritten !== undefined) this.#admit(type, total);
  }

  /** A message that begins before its limit may reach into the reserve, which is larger than any record. */
  #admit(type: RecordType, total: number): void {
    const refused = !(this.#end < limitOf(type, this.#limits));
    if (refused || this.#end + total + batchHeaderBytes > this.#limits.others) throw this.refusal();
  }

  refusal(): MeshError {
    this.#preparer.hurry();
    if (this.#fault !== undefined || this.#closed) {
      const why = this.#fault?.message ?? "it is closed";
      return new MeshError(Code.InternalServerError, `the broker's log takes nothing more: ${why}`, {
        cause: this.#fault,
      });
    }
    return refusal(this.#obstacle ?? this.#preparer.obstacle, this.#isSyncStuck(), this.#isDiskShort);
  }

  /** Output of a turn: one write, one sync asked for, then those who waited for the write. */
  readonly #endTurn = (): void => {
    this.#turnEndAsked = false;
    if (this.#fault !== undefined || this.#closed) return;
    if (this.#batch.isOpen && this.#unwritten === undefined) this.#writeBatch(false);
    this.#callWritten();
  };

  #callWritten(): void {
    this.#writtenWaiters.advance(this.#written);
    if (!this.#isSync) this.#callDurable();
  }

  #callDurable(): void {
    this.#durableWaiters.advance(this.durablePosition);
    this.onDurable?.(this.durablePosition);
  }

  #writeBatch(seals: boolean): void {
    const segment = this.#current;
    const sealTo = seals ? segment.end : undefined;
    const durable = this.#sync.durable;
    const position = this.#batch.isOpen ? this.#end - this.#batch.bytes : this.#end;
    const records = this.#batch.recordCount;
    const count = this.#batch.isOpen
      ? this.#batch.close(durable, sealTo)
      : this.#batch.closeWithSkip(position, segment.end, segment.epoch, durable);
    if (seals) this.#end = segment.end;
    this.#counters.batches.add();
    this.#counters.records.add(records);
    this.#unwritten = { segment, position, count, end: this.#end };
    this.#write();
  }

  /** Writes the waiting batch from its start, so that after a refusal it can simply be called again. */
  #write(): void {
    const batch = this.#unwritten;
    if (batch === undefined) return;
    try {
      this.#writeBytes(batch.segment, this.#batch.slab, batch.count, batch.position);
    } catch (error) {
      this.#meet(error);
      return;
    }
    this.#ring.put(this.#batch.slab, batch.count, batch.position);
    this.#batch.shrink();
    this.#unwritten = undefined;
    this.#written = batch.end;
    this.#counters.bytes.add(batch.count);
    this.#sync.wrote(batch.segment, batch.end);
    this.#sync.start();
    this.#preparer.keepPace(batch.count);
  }

  /** A filling disk answers with a short count first and with an error only to the next call. */
  #writeBytes(segment: Segment, slab: Buffer, count: number, position: number): void {
    const offset = segment.offsetOf(position);
    let done = 0;
    while (done < count) {
      const written = segment.file.write(slab, done, count, offset + done);
      if (written <= 0) throw new StorageError("full", `${segment.path}: nothing was written at ${offset + done}`);
      done += written;
    }
  }

  /** No room or no permission: the batch waits and nothing else is taken. Anything else: nobody knows what is on disk. */
  #meet(error: unknown): void {
    if (!(error instanceof StorageError) || (error.kind !== "full" && error.kind !== "read-only")) {
      this.#fail(error);
      return;
    }
    if (this.#obstacle === undefined) this.#doors.log.warn({ error: error.message }, "the log cannot be written");
    this.#obstacle = error;
    this.#updateLimits();
  }

  #roll(): void {
    this.#current = this.#preparer.take();
    this.#segments.add(this.#current);
    this.#end = this.#current.base;
    this.#preparer.start(this.#nextHeader());
    this.#counters.rolls.add();
    this.#updateLimits();
  }

  #nextHeader(): SegmentHeader {
    this.#lastOrdinal++;
    return {
      epoch: { ordinal: this.#lastOrdinal, nonce: this.#doors.randomness.uint32() },
      base: this.#current.end,
      capacityBytes: this.#config.segmentBytes - segmentHeaderBytes,
      durableUpTo: this.#sync.durable,
      createdWallMs: Math.floor(this.#doors.clock.wallMs()),
    };
  }

  /** What this turn has appended so far goes with the sync that begins now, or it would wait for the one after. */
  #syncEnded(seconds: number): void {
    this.#counters.syncSeconds.observe(seconds);
    this.#syncSlowReported = false;
    const mayWrite = this.#isSync && this.#fault === undefined && !this.#closed;
    if (mayWrite && this.#sync.isWanted && this.#batch.isOpen && this.#unwritten === undefined) this.#writeBatch(false);
  }

  #becameDurable(): void {
    this.#updateLimits();
    this.#mark.arm();
    if (this.#isSync) this.#callDurable();
  }

  /** Once a second: has the disk room again, does it still answer? */
  #probe(): void {
    if (this.#unwritten !== undefined) {
      this.#obstacle = undefined;
      this.#write();
      if (this.#unwritten === undefined) {
        this.#doors.log.info({}, "the log can be written again");
        this.#endTurn();
      }
    }
    this.#preparer.probe();
    this.#isDiskShort = isDiskShort(this.#doors.storage.freeBytes(), this.#doors.storage.totalBytes());
    if (!this.#syncSlowReported && this.#sync.ageMs > syncSlowMs) {
      this.#syncSlowReported = true;
      this.#doors.log.warn({ ageMs: Math.round(this.#sync.ageMs) }, "the disk takes over a second for a sync");
    }
    this.#updateLimits();
  }

  #isSyncStuck(): boolean {
    return this.#sync.ageMs > syncStuckMs;
  }

  #updateLimits(): void {
    this.#limits = admissionLimits({
      currentEnd: this.#current.end,
      nextEnd: this.#preparer.ready?.end,
      reserve: reserveBytes(this.#current.capacityBytes),
      durable: this.#sync.durable,
      undurableBytesMax: this.#config.undurableBytesMax,
      isHalted: this.#fault !== undefined || this.#closed || this.#unwritten !== undefined,
      isSyncStuck: this.#syncSlowReported && this.#isSyncStuck(),
      isDiskShort: this.#isDiskShort,
    });
    if (!this.takesMessages) this.#preparer.hurry();
  }

  #fail(error: unknown): void {
    if (this.#fault !== undefined || this.#closed) return;
    const fault =
      error instanceof StorageError ? error : new StorageError("io", `commit log: ${String(error)}`, { cause: error });
    this.#fault = fault;
    this.#doors.log.error({ error: fault.message }, "the disk failed; nothing is acknowledged any more");
    this.abandon();
    this.#doors.onFailure(fault);
  }
}
