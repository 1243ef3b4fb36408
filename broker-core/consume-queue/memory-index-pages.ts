import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { IndexDamage, type IndexPages } from "./index-pages.ts";

/** Index pages that live and die with the process, or with the state image they are written into. */
export class MemoryIndexPages implements IndexPages {
  #bytes = Buffer.alloc(1024);
  #end = 0;

  next(): number {
    return this.#end;
  }

  append(bytes: Buffer, length: number): void {
    if (this.#end + length > this.#bytes.length) {
      const wider = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#end + length));
      this.#bytes.copy(wider, 0, 0, this.#end);
      this.#bytes = wider;
    }
    bytes.copy(this.#bytes, this.#end, 0, length);
    this.#end += length;
  }

  has(address: number): boolean {
    return address >= 0 && address < this.#end;
  }

  read(address: number, into: Buffer, length: number): number {
    return this.#bytes.copy(into, 0, address, Math.min(address + length, this.#end));
  }

  drop(): void {}

  dropBelow(): void {}

  damage(address: number, what: string): IndexDamage {
    return new IndexDamage(`the index in memory at ${address}: ${what}`);
  }

  clear(): void {
    this.#end = 0;
  }

  writeTo(into: ImageWriter): void {
    into.u32(this.#end);
    into.column(this.#bytes.subarray(0, this.#end));
  }

  readFrom(from: ImageReader): boolean {
    this.#end = from.u32();
    this.#bytes = Buffer.alloc(Math.max(1024, this.#end));
    from.column(this.#bytes.subarray(0, this.#end));
    return true;
  }
}
