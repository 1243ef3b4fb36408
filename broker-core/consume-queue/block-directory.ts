import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { widened } from "../dispatch/widened.ts";

/** Where the blocks of a long queue lie, oldest first: 24 bytes for 256 messages. Together they cover all offsets up to `end`. */
export class BlockDirectory {
  /** Offset behind the last block. */
  end = 0;
  #firsts = new Float64Array(4);
  #addresses = new Float64Array(4);
  #positions = new Float64Array(4);
  /** Blocks before have been dropped. */
  #head = 0;
  #count = 0;

  get isEmpty(): boolean {
    return this.#head === this.#count;
  }

  /** `position`: log position of the first entry. */
  push(first: number, count: number, address: number, position: number): void {
    if (this.#count === this.#firsts.length) this.#makeRoom();
    this.#firsts[this.#count] = first;
    this.#addresses[this.#count] = address;
    this.#positions[this.#count++] = position;
    this.end = first + count;
  }

  /** Number of the block that holds an offset, which is below `end` and not below the first block. */
  find(offset: number): number {
    return this.#lastNotAbove(this.#firsts, offset);
  }

  /** Number of the last block that begins below a log position; -1 when none does. */
  findPosition(position: number): number {
    if (this.isEmpty || this.#positions[this.#head]! >= position) return -1;
    return this.#lastNotAbove(this.#positions, position - 1);
  }

  first(block: number): number {
    return this.#firsts[block]!;
  }

  endOf(block: number): number {
    return block + 1 < this.#count ? this.#firsts[block + 1]! : this.end;
  }

  address(block: number): number {
    return this.#addresses[block]!;
  }

  /** Offset of the oldest entry; `end` when there is none. */
  get begin(): number {
    return this.isEmpty ? this.end : this.#firsts[this.#head]!;
  }

  /** Takes out the oldest block and returns its number; its place may be asked for until the next `push`. */
  dropFirst(): number {
    return this.#head++;
  }

  writeTo(into: ImageWriter): void {
    into.f64(this.end);
    into.u32(this.#count - this.#head);
    for (const column of [this.#firsts, this.#addresses, this.#positions]) {
      into.column(column.subarray(this.#head, this.#count));
    }
  }

  static readFrom(from: ImageReader): BlockDirectory {
    const directory = new BlockDirectory();
    directory.end = from.f64();
    directory.#count = from.u32();
    directory.#firsts = new Float64Array(Math.max(4, directory.#count));
    directory.#addresses = new Float64Array(Math.max(4, directory.#count));
    directory.#positions = new Float64Array(Math.max(4, directory.#count));
    for (const column of [directory.#firsts, directory.#addresses, directory.#positions]) {
      from.column(column.subarray(0, directory.#count));
    }
    return directory;
  }

  #lastNotAbove(column: Float64Array, value: number): number {
    let low = this.#head;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (column[middle]! <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** What was dropped makes room first. */
  #makeRoom(): void {
    const kept = this.#count - this.#head;
    if (this.#head < kept) {
      const length = this.#firsts.length * 2;
      this.#firsts = widened(this.#firsts, length);
      this.#addresses = widened(this.#addresses, length);
      this.#positions = widened(this.#positions, length);
    }
    for (const column of [this.#firsts, this.#addresses, this.#positions]) {
      column.copyWithin(0, this.#head, this.#count);
    }
    this.#head = 0;
    this.#count = kept;
  }
}
