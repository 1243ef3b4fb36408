/**
 * Buffers for bodies that wait until their record is in the log. They are used again: a new one for every hand-out is memory
 * outside of V8's heap, and V8 answers to that with full collections.
 */

/** A full hand-out of 32 messages of 1 KiB, and room to spare. */
const bufferBytes = 64 * 1024;
/** 4 MiB: what a turn of the event loop hands out, even on a large machine. */
const keptMax = 64;

const free: Buffer[] = [];

/** Room for `bytes`; the contents are anything. */
export function takeBody(bytes: number): Buffer {
  if (bytes > bufferBytes) return Buffer.allocUnsafeSlow(bytes);
  return free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
}

/** Nobody reads it any more. */
export function giveBody(buffer: Buffer): void {
  if (buffer.length === bufferBytes && free.length < keptMax) free.push(buffer);
}
