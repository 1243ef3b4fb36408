import { hashBytes } from "../consume-queue/text-hash.ts";
import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { mix, SlotIndex } from "../pop/slot-index.ts";
import { textBytesMax } from "../record/fixed-bytes.ts";

/** A name lies wholly in one chunk. */
const chunkShift = 16;
const chunkBytes = 1 << chunkShift;
const slash = 0x2f;
/** Less garbage than this is not worth a walk over all names. */
const garbageBytesMin = 1024 * 1024;

/**
 * Names of numbered things, for tables of a million: the bytes lie in chunks, found by hash. A name costs its bytes and 16 to
 * 26 more; a `Map` of strings takes 100 and is walked by every garbage collection.
 */
export class NameTable {
  #chunks: Buffer[] = [];
  /** Where the next name goes, counted over all chunks. */
  #end = 0;
  #garbageBytes = 0;
  /** By number: where the length of the name stands, and behind it the name; plus one. 0: no name. */
  #places = new Uint32Array(64);
  #index = new SlotIndex();

  /** Number of a name; -1 when nobody has it. */
  find(name: string): number {
    const length = encode(name);
    const hash = hashOf(scratch, 0, length);
    for (let i = this.#index.first(hash); i >= 0; i = this.#index.next(i, hash)) {
      const number = this.#index.slotAt(i);
      const place = this.#places[number]! - 1;
      const chunk = this.#chunks[place >>> chunkShift]!;
      const at = place & (chunkBytes - 1);
      if (chunk[at] === length && scratch.compare(chunk, at + 1, at + 1 + length, 0, length) === 0) return number;
    }
    return -1;
  }

  /** `name` has at most 255 bytes and is nobody's yet. */
  set(number: number, name: string): void {
    const length = encode(name);
    if (length > textBytesMax) throw new RangeError(`a name of more than ${textBytesMax} bytes`);
    if (number >= this.#places.length) {
      const wider = new Uint32Array(Math.max(this.#places.length * 2, number + 1));
      wider.set(this.#places);
      this.#places = wider;
    }
    this.#put(number, scratch, 0, length);
    this.#index.insert(hashOf(scratch, 0, length), number);
  }

  remove(number: number): void {
    const place = this.#places[number]! - 1;
    const chunk = this.#chunks[place >>> chunkShift]!;
    const at = place & (chunkBytes - 1);
    const length = chunk[at]!;
    this.#index.remove(hashOf(chunk, at + 1, at + 1 + length), number);
    this.#places[number] = 0;
    this.#garbageBytes += 1 + length;
    if (this.#garbageBytes > garbageBytesMin && this.#garbageBytes * 2 > this.#end) this.#compact();
  }

  text(number: number): string {
    const place = this.#places[number]! - 1;
    const chunk = this.#chunks[place >>> chunkShift]!;
    const at = (place & (chunkBytes - 1)) + 1;
    return chunk.toString("utf8", at, at + chunk[at - 1]!);
  }

  /** Whether what stands behind the last "/" of a name begins with `prefix`. */
  lastPartBegins(number: number, prefix: Uint8Array): boolean {
    const place = this.#places[number]! - 1;
    const chunk = this.#chunks[place >>> chunkShift]!;
    const start = (place & (chunkBytes - 1)) + 1;
    const end = start + chunk[start - 1]!;
    let at = end;
    while (at > start && chunk[at - 1] !== slash) at--;
    if (end - at < prefix.length) return false;
    for (let i = 0; i < prefix.length; i++) if (chunk[at + i] !== prefix[i]) return false;
    return true;
  }

  /** At least so many bytes has the image of the names of the numbers below `count`. */
  imageBytes(count: number): number {
    return count * this.#places.BYTES_PER_ELEMENT + this.#end;
  }

  /** For a state image: the names of the numbers below `count`. */
  writeTo(into: ImageWriter, count: number): void {
    into.column(this.#places.subarray(0, count));
    into.u32(this.#chunks.length);
    into.u32(this.#end);
    for (const chunk of this.#chunks) into.column(chunk);
  }

  readFrom(from: ImageReader, count: number): void {
    this.#places = new Uint32Array(Math.max(64, count));
    from.column(this.#places.subarray(0, count));
    const chunkCount = from.u32();
    this.#end = from.u32();
    for (let i = 0; i < chunkCount; i++) {
      const chunk = Buffer.allocUnsafeSlow(chunkBytes);
      from.column(chunk);
      this.#chunks.push(chunk);
    }
    this.#index = new SlotIndex(count);
    let usedBytes = 0;
    for (let number = 0; number < count; number++) {
      const place = this.#places[number]! - 1;
      if (place < 0) continue;
      const chunk = this.#chunks[place >>> chunkShift];
      const at = (place & (chunkBytes - 1)) + 1;
      if (chunk === undefined) throw new RangeError("a name lies beyond the image");
      const length = chunk[at - 1]!;
      usedBytes += 1 + length;
      this.#index.insert(hashOf(chunk, at, at + length), number);
    }
    this.#garbageBytes = this.#end - usedBytes;
  }

  #put(number: number, from: Buffer, start: number, length: number): void {
    const room = chunkBytes - (this.#end & (chunkBytes - 1));
    if (room < 1 + length && this.#end >>> chunkShift < this.#chunks.length) {
      this.#garbageBytes += room;
      this.#end += room;
    }
    const at = this.#end & (chunkBytes - 1);
    // Zeros behind the last name: equal tables have equal images.
    if (this.#end >>> chunkShift === this.#chunks.length) this.#chunks.push(Buffer.alloc(chunkBytes));
    const chunk = this.#chunks[this.#end >>> chunkShift]!;
    chunk[at] = length;
    from.copy(chunk, at + 1, start, start + length);
    this.#places[number] = this.#end + 1;
    this.#end += 1 + length;
  }

  #compact(): void {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#end = 0;
    this.#garbageBytes = 0;
    for (let number = 0; number < this.#places.length; number++) {
      const place = this.#places[number]! - 1;
      if (place < 0) continue;
      const chunk = chunks[place >>> chunkShift]!;
      const at = place & (chunkBytes - 1);
      this.#put(number, chunk, at + 1, chunk[at]!);
    }
  }
}

/** Room for the longest name and one byte more: what fills it is too long to be anybody's. */
const scratch = Buffer.alloc(textBytesMax + 1 + 4);

/** Bytes of a name, now at the beginning of `scratch`. */
function encode(name: string): number {
  return scratch.write(name, "utf8");
}

/** FNV leaves the low bits of similar names alike, and the table looks at those first. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  return mix(hashBytes(bytes, start, end), end - start);
}
