import { batchHeaderBytes, type Epoch, encodeBatchHeader, encodeRecordHeader, recordHeaderBytes } from "./log-frame.ts";

/** Builds one batch after the other in a slab that is used again as soon as the batch is written. */
export class BatchBuilder {
  readonly #usualSlab: Buffer;
  #slab: Buffer;
  #position = 0;
  #bytes = 0;
  #recordCount = 0;
  #firstSequence: number;
  #epoch: Epoch = { ordinal: 0, nonce: 0 };

  /** `batchBytesMax` is what a batch may hold, except that a single larger record makes a batch of its own. */
  constructor(batchBytesMax: number, nextSequence: number) {
    this.#usualSlab = Buffer.allocUnsafeSlow(batchBytesMax + 2 * batchHeaderBytes);
    this.#slab = this.#usualSlab;
    this.#firstSequence = nextSequence;
  }

  get slab(): Buffer {
    return this.#slab;
  }

  get isOpen(): boolean {
    return this.#bytes > 0;
  }

  /** Bytes of the open batch with its header; 0 when none is open. */
  get bytes(): number {
    return this.#bytes;
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  open(position: number, epoch: Epoch): void {
    this.#position = position;
    this.#epoch = epoch;
    this.#bytes = batchHeaderBytes;
  }

  /** Returns the record's position. When `fill` throws, the batch is as it was. */
  add(type: number, length: number, fill: (into: Buffer, at: number) => void): number {
    const at = this.#bytes;
    const end = at + recordHeaderBytes + length;
    if (end + batchHeaderBytes > this.#slab.length) this.#grow(end + batchHeaderBytes);
    fill(this.#slab, at + recordHeaderBytes);
    const position = this.#position + at;
    encodeRecordHeader(this.#slab, at, type, length, position, this.#epoch.nonce);
    this.#bytes = end;
    this.#recordCount++;
    return position;
  }

  /** An open batch without a record (its `fill` threw) is taken back. */
  abandonIfEmpty(): void {
    if (this.#recordCount === 0) this.#bytes = 0;
  }

  /**
   * Completes the batch and, when `sealTo` is given, adds a skip over everything up to that position. Returns how many
   * bytes of the slab are to be written. The slab is free again after the next `open`.
   */
  close(durableUpTo: number, sealTo: number | undefined): number {
    let bytes = this.#bytes;
    const { length, recordCount } = { length: bytes, recordCount: this.#recordCount };
    if (recordCount > 0) {
      const header = {
        position: this.#position,
        length,
        recordCount,
        firstSequence: this.#firstSequence,
        durableUpTo,
      };
      encodeBatchHeader(this.#slab, 0, header, this.#epoch);
    }
    this.#firstSequence += recordCount;
    if (sealTo !== undefined) {
      const position = this.#position + bytes;
      const skip = {
        position,
        length: sealTo - position,
        recordCount: 0,
        firstSequence: this.#firstSequence,
        durableUpTo,
      };
      encodeBatchHeader(this.#slab, bytes, skip, this.#epoch);
      bytes += batchHeaderBytes;
    }
    this.#bytes = 0;
    this.#recordCount = 0;
    return bytes;
  }

  /** A skip with no records before it. */
  closeWithSkip(position: number, sealTo: number, epoch: Epoch, durableUpTo: number): number {
    this.#position = position;
    this.#epoch = epoch;
    this.#bytes = 0;
    return this.close(durableUpTo, sealTo);
  }

  /** Gives a slab back that one huge record needed. */
  shrink(): void {
    this.#slab = this.#usualSlab;
  }

  #grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.#slab.copy(larger, 0, 0, this.#bytes);
    this.#slab = larger;
  }
}
