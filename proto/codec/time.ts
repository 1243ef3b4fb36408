import { next, readInt32, readInt64, readTag, skipValue, varintBytes, WireType, writeVarint } from "./wire.ts";

/** `google.protobuf.Timestamp` and `Duration`, which look the same: {1: seconds int64, 2: nanos int32}. */
export class TimeReader {
  /** Whether the field is there. */
  isPresent = false;
  /** As sent: may be negative, out of range, or rounded beyond 2^53. */
  seconds = 0;
  nanos = 0;

  /** In milliseconds; what is less is cut off, towards the past. */
  get ms(): number {
    return this.seconds * 1000 + Math.floor(this.nanos / 1e6);
  }

  clear(): void {
    this.isPresent = false;
    this.seconds = 0;
    this.nanos = 0;
  }

  /** Adds what `bytes[start, end)` says; a message that comes in two pieces is merged so. Leaves `next` at `end`. */
  merge(bytes: Uint8Array, start: number, end: number): void {
    this.isPresent = true;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Varint)) this.seconds = readInt64(bytes, next, end);
      else if (tag === ((2 << 3) | WireType.Varint)) this.nanos = readInt32(bytes, next, end);
      else skipValue(bytes, next, end, tag);
    }
  }
}

/** Size of the content for a time in milliseconds, not negative, below 2^53. */
export function timeBytes(ms: number): number {
  const nanos = (ms % 1000) * 1e6;
  const seconds = Math.floor(ms / 1000);
  return (seconds === 0 ? 0 : 1 + varintBytes(seconds)) + (nanos === 0 ? 0 : 1 + varintBytes(nanos));
}

export function writeTime(into: Uint8Array, at: number, ms: number): number {
  const nanos = (ms % 1000) * 1e6;
  const seconds = Math.floor(ms / 1000);
  if (seconds > 0) {
    into[at] = (1 << 3) | WireType.Varint;
    at = writeVarint(into, at + 1, seconds);
  }
  if (nanos > 0) {
    into[at] = (2 << 3) | WireType.Varint;
    at = writeVarint(into, at + 1, nanos);
  }
  return at;
}
