import { copyBytes } from "./text.ts";

/** A buffer that grows and is reused: where a small answer is put together whose size is not known beforehand. */
export class Scratch {
  bytes: Buffer = Buffer.allocUnsafeSlow(1024);
  length = 0;

  clear(): void {
    this.length = 0;
  }

  /** Makes room for `more` bytes behind `length`; `bytes` may be another buffer afterwards. */
  reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + more));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  copyTo(into: Buffer, at: number): void {
    copyBytes(this.bytes, 0, this.length, into, at);
  }
}
