import type { LogReader, LogRecord, LogWriter, RecordType } from "../../../broker-core/commit-log/log.ts";
import { PositionWaiters } from "../../../broker-core/commit-log/position-waiters.ts";
import { Code } from "../../../proto/code.ts";
import { MeshError } from "../../../proto/runtime/mesh-error.ts";

const batchHeaderBytes = 48;
const recordHeaderBytes = 24;

/**
 * A log in memory for schedules with many messages: as `MemoryLog` of the broker's tests in what it promises, without its traps for
 * those who write beyond their record or keep a body that was lent.
 */
export class LaneLog implements LogWriter, LogReader {
  onDurable: ((durablePosition: number) => void) | undefined;
  readonly takesMessages = true;
  readonly takesReleases = true;
  readonly youngPosition = 0;
  endPosition = 0;
  writtenPosition = 0;
  durablePosition = 0;
  #records: LogRecord[] = [];
  readonly #at = new Map<number, number>();
  #isBatchOpen = false;
  #written = new PositionWaiters();
  #durable = new PositionWaiters();

  refusal(): MeshError {
    return new MeshError(Code.TooManyRequests, "the disk takes no more; free space");
  }

  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    if (!this.#isBatchOpen) this.endPosition += batchHeaderBytes;
    this.#isBatchOpen = true;
    const body = Buffer.allocUnsafe(length);
    fill(body, 0);
    const position = this.endPosition;
    this.endPosition += recordHeaderBytes + length;
    this.#at.set(position, this.#records.length);
    this.#records.push({ position, type, body, nextPosition: this.endPosition });
    return position;
  }

  read(position: number): LogRecord {
    if (position >= this.writtenPosition) throw new RangeError(`log position ${position} is not written yet`);
    const index = this.#at.get(position);
    if (index === undefined) throw new Error(`no record at ${position}`);
    return this.#records[index]!;
  }

  whenWritten(position: number, action: () => void): void {
    if (position < this.writtenPosition) action();
    else this.#written.add(position, action);
  }

  whenDurable(position: number, action: () => void): void {
    if (position < this.durablePosition) action();
    else this.#durable.add(position, action);
  }

  /** Everything appended is in the page cache. */
  write(): void {
    this.#isBatchOpen = false;
    if (this.writtenPosition === this.endPosition) return;
    this.writtenPosition = this.endPosition;
    this.#written.advance(this.writtenPosition);
  }

  /** The disk has everything that was appended. */
  sync(): void {
    this.write();
    if (this.durablePosition === this.writtenPosition) return;
    this.durablePosition = this.writtenPosition;
    this.onDurable?.(this.durablePosition);
    this.#durable.advance(this.durablePosition);
  }

  /** "kill": the process dies, what was written stays. "power": only what is durable stays. Nobody is answered. */
  crash(kind: "kill" | "power"): void {
    const kept = kind === "kill" ? this.writtenPosition : this.durablePosition;
    while ((this.#records.at(-1)?.position ?? -1) >= kept) this.#at.delete(this.#records.pop()!.position);
    this.#isBatchOpen = false;
    this.#written = new PositionWaiters();
    this.#durable = new PositionWaiters();
    this.endPosition = this.writtenPosition = this.durablePosition = kept;
    this.onDurable = undefined;
  }

  get count(): number {
    return this.#records.length;
  }

  /** The record that was appended as number `index`. */
  record(index: number): LogRecord | undefined {
    return this.#records[index];
  }
}
