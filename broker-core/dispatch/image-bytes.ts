type Column = Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array;

/** "without messages": nothing that belongs to single visible messages (state-image.ts, `writeBaseImage`). */
export type ImageExtent = "whole" | "without messages";

const bytesMin = 64 * 1024;

/** A growing buffer for state images. */
export class ImageWriter {
  #bytes: Buffer;
  #end = 0;

  /** `bytesExpected`: room from the start, so that a large image is not copied while it grows. */
  constructor(bytesExpected = 0) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(bytesMin, Math.ceil(bytesExpected * 1.05)));
  }

  /** May replace `#bytes`: to be called before they are looked at. */
  #room(count: number): number {
    const at = this.#end;
    this.#end += count;
    if (this.#end > this.#bytes.length) {
      const wider = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end));
      this.#bytes.copy(wider, 0, 0, at);
      this.#bytes = wider;
    }
    return at;
  }

  /** Room for `count` bytes, written by `fill` at `at`. */
  fill(count: number, fill: (into: Buffer, at: number) => void): void {
    const at = this.#room(count);
    fill(this.#bytes, at);
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#bytes.writeUInt8(value, at);
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#bytes.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#bytes.writeUInt32LE(value, at);
  }

  /** Whole numbers beyond 32 bits and times alike. */
  f64(value: number): void {
    const at = this.#room(8);
    this.#bytes.writeDoubleLE(value, at);
  }

  /** A column as it lies in memory. */
  column(column: Column): void {
    const { byteLength } = column;
    const at = this.#room(byteLength);
    Buffer.from(column.buffer, column.byteOffset, byteLength).copy(this.#bytes, at);
  }

  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.u16(length);
    const at = this.#room(length);
    this.#bytes.write(value, at);
  }

  /** What was written, not copied once more: nothing may be written any more. */
  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }
}

/** Reads what `ImageWriter` wrote. Reads beyond the end throw `RangeError`. */
export class ImageReader {
  readonly #bytes: Buffer;
  #at = 0;
  /** The image is of a version that knows lanes. */
  hasLanes = true;
  /** The same of draining. */
  hasDrain = true;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Lets `read` take `count` bytes at `at`. */
  take(count: number, read: (from: Buffer, at: number, count: number) => void): void {
    const at = this.#move(count);
    if (this.#at > this.#bytes.length) throw new RangeError("a part reaches beyond the end of the image");
    read(this.#bytes, at, count);
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#move(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#move(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#move(4));
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#move(8));
  }

  /** Fills a column of the length that was written. */
  column(column: Column): void {
    const { byteLength } = column;
    const at = this.#move(byteLength);
    if (this.#at > this.#bytes.length) throw new RangeError("a column reaches beyond the end of the image");
    this.#bytes.copy(Buffer.from(column.buffer, column.byteOffset, byteLength), 0, at, this.#at);
  }

  text(): string {
    const length = this.u16();
    const at = this.#move(length);
    if (this.#at > this.#bytes.length) throw new RangeError("a text reaches beyond the end of the image");
    return this.#bytes.toString("utf8", at, this.#at);
  }

  #move(count: number): number {
    const at = this.#at;
    this.#at += count;
    return at;
  }
}
