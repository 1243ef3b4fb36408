import {
  type LogReader,
  type LogRecord,
  LogTrimmedError,
  type LogWriter,
  type RecordType,
} from "../../broker-core/commit-log/log.ts";
import { PositionWaiters } from "../../broker-core/commit-log/position-waiters.ts";
import { StorageError } from "../../broker-core/storage/storage.ts";
import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";

const batchHeaderBytes = 48;
const recordHeaderBytes = 24;

interface StoredRecord {
  readonly position: number;
  readonly type: RecordType;
  readonly body: Buffer;
  readonly nextPosition: number;
  /** `youngPosition` when it was appended: it may point at what lies there or above. */
  readonly youngPosition: number;
}

/**
 * The log in memory, under the hand of a test: records are appended, written when the test says `write`, durable when it says
 * `sync`, and lost in `crash` as far as they were not. Positions have the gaps of a real log.
 */
export class MemoryLog implements LogWriter, LogReader {
  onDurable: ((durablePosition: number) => void) | undefined;
  takesMessages = true;
  takesReleases = true;
  /** While true, every append fails as on a disk without any room. */
  isFull = false;
  endPosition = 0;
  writtenPosition = 0;
  durablePosition = 0;
  /** Set by a test that lets messages grow old. */
  youngPosition = 0;
  /** Positions whose bytes are damaged. */
  readonly damaged = new Set<number>();
  /** Records were lost: as in the real log, what is read elsewhere than at a record is damage. */
  #hasLost = false;
  /** Records read by position. */
  readCount = 0;

  /** Retention has removed what lies below. */
  begin = 0;

  #records: StoredRecord[] = [];
  readonly #index = new Map<number, StoredRecord>();
  #isBatchOpen = false;
  #written = new PositionWaiters();
  #durable = new PositionWaiters();
  // As the real log does, a record is handed out of a buffer that the next read overwrites.
  #readBuffer = Buffer.alloc(1024);

  refusal(): MeshError {
    return new MeshError(Code.TooManyRequests, "the disk takes no more; free space");
  }

  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    if (this.isFull) throw this.refusal();
    const slab = Buffer.alloc(length + 7, 0xee);
    fill(slab, 5);
    if (slab[4] !== 0xee || slab[length + 5] !== 0xee)
      throw new Error(`record type ${type} wrote beyond its ${length} bytes`);
    if (!this.#isBatchOpen) this.endPosition += batchHeaderBytes;
    this.#isBatchOpen = true;
    const position = this.endPosition;
    this.endPosition += recordHeaderBytes + length;
    const body = slab.subarray(5, 5 + length);
    const record = { position, type, body, nextPosition: this.endPosition, youngPosition: this.youngPosition };
    this.#records.push(record);
    this.#index.set(position, record);
    return position;
  }

  read(position: number): LogRecord {
    if (position >= this.writtenPosition) throw new RangeError(`log position ${position} is not written yet`);
    return this.look(position);
  }

  /** What a test reads, written or not. */
  look(position: number): LogRecord {
    this.readCount++;
    const record = this.#index.get(position);
    if (position < this.begin) throw new LogTrimmedError(position, this.begin);
    if (record === undefined && this.#hasLost) throw new StorageError("io", `log position ${position} is damaged`);
    if (record === undefined) throw new Error(`no record at ${position}`);
    if (this.damaged.has(position)) throw new StorageError("io", `log position ${position}: checksum does not match`);
    if (record.body.length > this.#readBuffer.length) this.#readBuffer = Buffer.alloc(record.body.length * 2);
    this.#readBuffer.fill(0xdd);
    record.body.copy(this.#readBuffer);
    return { ...record, body: this.#readBuffer.subarray(0, record.body.length) };
  }

  whenWritten(position: number, action: () => void): void {
    if (position < this.writtenPosition) action();
    else this.#written.add(position, action);
  }

  whenDurable(position: number, action: () => void): void {
    if (position < this.durablePosition) action();
    else this.#durable.add(position, action);
  }

  /** The turn ends: everything appended is in the page cache. */
  write(): void {
    this.#isBatchOpen = false;
    this.writtenPosition = this.endPosition;
    this.#written.advance(this.writtenPosition);
  }

  /** The disk has everything that was written. */
  sync(): void {
    this.write();
    if (this.durablePosition === this.writtenPosition) return;
    this.durablePosition = this.writtenPosition;
    this.onDurable?.(this.durablePosition);
    this.#durable.advance(this.durablePosition);
  }

  /** Damage takes a record: no start finds it. */
  lose(position: number): void {
    this.#records = this.#records.filter((record) => record.position !== position);
    this.#index.delete(position);
    this.#hasLost = true;
  }

  /** As retention does: what lies below `position` goes, except what a later record may point at. */
  removeBelow(position: number): void {
    const kept = this.#records.filter((record) => record.position >= position);
    this.begin = Math.min(position, ...kept.map(({ youngPosition }) => Math.max(youngPosition, this.begin)));
    this.#records = this.#records.filter((record) => {
      if (record.position >= this.begin) return true;
      this.#index.delete(record.position);
      return false;
    });
  }

  /** As a crash does that comes before the rest is written: what lies at `position` or above never was. */
  cut(position: number): void {
    this.writtenPosition = position;
    this.durablePosition = position;
  }

  /** "kill": the process dies, what was written stays. "power": only what is durable stays, and nobody is answered. */
  crash(kind: "kill" | "power"): void {
    const kept = kind === "kill" ? this.writtenPosition : this.durablePosition;
    this.#records = this.#records.filter((record) => {
      if (record.position < kept) return true;
      this.#index.delete(record.position);
      return false;
    });
    this.#isBatchOpen = false;
    this.#written = new PositionWaiters();
    this.#durable = new PositionWaiters();
    this.endPosition = kept;
    // Recovery makes what it keeps durable before the broker opens.
    this.writtenPosition = kept;
    this.durablePosition = kept;
    this.onDurable = undefined;
  }

  /** The records from `position` on, in order. */
  *records(position = 0): Generator<LogRecord> {
    for (const record of [...this.#records]) {
      if (record.position >= position) yield this.damaged.has(record.position) ? record : this.look(record.position);
    }
  }

  get recordCount(): number {
    return this.#records.length;
  }

  countOf(type: RecordType): number {
    return this.#records.filter((record) => record.type === type).length;
  }
}
