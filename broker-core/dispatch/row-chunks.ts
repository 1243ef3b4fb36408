import type { ImageReader, ImageWriter } from "./image-bytes.ts";

const chunkShift = 14;
const chunkRows = 1 << chunkShift;

/**
 * Rows of a fixed number of 8-byte words, numbered from 0, in chunks of 16 384: growing copies nothing. Whoever reads and
 * writes fields does it through the two views of a chunk: row `n` begins at word `(n & rowMask) * words` of chunk
 * `n >>> rowShift`.
 */
export class RowChunks {
  /** By chunk. */
  readonly doubles: Float64Array[] = [];
  /** By chunk: two for each word. */
  readonly halves: Uint32Array[] = [];
  readonly #bytes: Buffer[] = [];
  readonly #words: number;

  constructor(words: number) {
    this.#words = words;
  }

  /** Fills a row with zeros, and makes room for it first. */
  clear(row: number): void {
    this.reach(row);
    const at = (row & rowMask) * this.#words;
    this.doubles[row >>> chunkShift]!.fill(0, at, at + this.#words);
  }

  /** Makes room for row `row`, filled with zeros. */
  reach(row: number): void {
    while (row >= this.#bytes.length * chunkRows) {
      const bytes = Buffer.from(new ArrayBuffer(chunkRows * this.#words * 8));
      this.#bytes.push(bytes);
      this.doubles.push(new Float64Array(bytes.buffer));
      this.halves.push(new Uint32Array(bytes.buffer));
    }
  }

  /** Bytes that `count` rows take in a state image. */
  imageBytes(count: number): number {
    return count * this.#words * 8;
  }

  /** For a state image: the rows below `count`. */
  writeTo(into: ImageWriter, count: number): void {
    for (let row = 0; row < count; row += chunkRows) {
      into.column(this.#bytes[row >>> chunkShift]!.subarray(0, (count - row) * this.#words * 8));
    }
  }

  readFrom(from: ImageReader, count: number): void {
    for (let row = 0; row < count; row += chunkRows) {
      this.reach(row);
      from.column(this.#bytes[row >>> chunkShift]!.subarray(0, (count - row) * this.#words * 8));
    }
  }
}

export const rowShift: number = chunkShift;
export const rowMask: number = chunkRows - 1;
