import { next, readInt32, readInt64, readRange, readTagAgain, seekAgain, skipValue, WireType } from "../codec/wire.ts";
import type { PropertyNames } from "./property-names.ts";
import { sqlLimits } from "./sql-parser.ts";

const nothing: Buffer = Buffer.alloc(0);
const bytesTag = (field: number): number => (field << 3) | WireType.Bytes;

/** Digits of a time and its sign. */
const timeTextBytes = 24;

/**
 * The values that one filter asks for, of one message: ranges of bytes by the number of the name. One row is filled for
 * message after message; the ranges point into the message's own bytes.
 */
export class PropertyRow {
  /** -1: the message does not have it. */
  readonly starts = new Int32Array(sqlLimits.properties);
  readonly ends = new Int32Array(sqlLimits.properties);
  readonly sources: Buffer[] = Array.from({ length: sqlLimits.properties }, () => nothing);
  /** Texts that are not in the message as they are asked for. */
  #scratch: Buffer = Buffer.alloc(256);
  #scratchEnd = 0;

  clear(count: number): void {
    this.starts.fill(-1, 0, count);
    this.#scratchEnd = 0;
  }

  set(number: number, source: Buffer, start: number, end: number): void {
    this.sources[number] = source;
    this.starts[number] = start;
    this.ends[number] = end;
  }

  /**
   * Takes the values out of an `apache.rocketmq.v2.Message`, `bytes[start, end)`, that was scanned when it was stored. A key
   * that comes twice counts as it does last. Throws `MeshError` when the bytes are no message.
   */
  readMessage(bytes: Buffer, start: number, end: number, names: PropertyNames): void {
    this.clear(names.names.length);
    let at = start;
    while (at < end) {
      const tag = readTagAgain(bytes, at, end);
      if (tag === bytesTag(2)) {
        const from = readRange(bytes, next, end);
        at = next;
        this.#readUserProperty(bytes, from, at, names);
      } else if (tag === bytesTag(3) && names.wantsSystem) {
        const from = readRange(bytes, next, end);
        at = next;
        this.#readSystem(bytes, from, at, names);
      } else {
        skipValue(bytes, next, end, tag);
        at = next;
      }
    }
  }

  #readUserProperty(bytes: Buffer, start: number, end: number, names: PropertyNames): void {
    let keyStart = start;
    let keyEnd = start;
    let valueStart = start;
    let valueEnd = start;
    for (let at = start; at < end; at = next) {
      const tag = readTagAgain(bytes, at, end);
      if (tag === bytesTag(1)) {
        keyStart = readRange(bytes, next, end);
        keyEnd = next;
      } else if (tag === bytesTag(2)) {
        valueStart = readRange(bytes, next, end);
        valueEnd = next;
      } else skipValue(bytes, next, end, tag);
    }
    const number = names.find(bytes, keyStart, keyEnd);
    if (number >= 0) this.set(number, bytes, valueStart, valueEnd);
  }

  #readSystem(bytes: Buffer, start: number, end: number, names: PropertyNames): void {
    let keyCount = 0;
    let at = start;
    while (at < end) {
      const tag = readTagAgain(bytes, at, end);
      if ((tag & 7) !== WireType.Bytes) {
        skipValue(bytes, next, end, tag);
        at = next;
        continue;
      }
      const from = readRange(bytes, next, end);
      at = next;
      switch (tag >>> 3) {
        case 1:
          this.#setText(names.tags, bytes, from, at);
          break;
        case 2:
          keyCount++;
          this.#setText(names.keys, bytes, from, at);
          break;
        case 3:
          this.#setText(names.uniqueKey, bytes, from, at);
          break;
        case 7:
          this.#setTime(names.bornTimestamp, bytes, from, at);
          break;
        case 11:
          this.#setTime(names.deliverMs, bytes, from, at);
          break;
        case 17:
          this.#setText(names.shardingKey, bytes, from, at);
          break;
        case 18:
          this.#setText(names.traceContext, bytes, from, at);
          break;
      }
    }
    if (keyCount > 1 && names.keys >= 0) this.#joinKeys(names.keys, bytes, start, end);
  }

  /** An empty text says what an absent one says. */
  #setText(number: number, bytes: Buffer, start: number, end: number): void {
    if (number >= 0 && end > start) this.set(number, bytes, start, end);
  }

  #setTime(number: number, bytes: Buffer, start: number, end: number): void {
    if (number < 0) return;
    let seconds = 0;
    let nanos = 0;
    for (let at = start; at < end; at = next) {
      const tag = readTagAgain(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Varint)) seconds = readInt64(bytes, next, end);
      else if (tag === ((2 << 3) | WireType.Varint)) nanos = readInt32(bytes, next, end);
      else skipValue(bytes, next, end, tag);
    }
    const text = String(seconds * 1000 + Math.floor(nanos / 1e6));
    const from = this.#reserve(timeTextBytes);
    this.#scratchEnd = from + this.#scratch.write(text, from, "latin1");
    this.set(number, this.#scratch, from, this.#scratchEnd);
  }

  #joinKeys(number: number, bytes: Buffer, start: number, end: number): void {
    const from = this.#reserve(end - start);
    const scratch = this.#scratch;
    let to = from;
    for (let at = seekAgain(bytes, start, end, bytesTag(2)); at >= 0; at = seekAgain(bytes, next, end, bytesTag(2))) {
      const keyStart = readRange(bytes, at, end);
      if (to > from) scratch[to++] = 0x20;
      to += bytes.copy(scratch, to, keyStart, next);
    }
    this.#scratchEnd = to;
    this.set(number, scratch, from, to);
  }

  /** Room for so many bytes. Ranges that were set keep the buffer that they point into. */
  #reserve(length: number): number {
    if (this.#scratchEnd + length > this.#scratch.length) {
      this.#scratch = Buffer.allocUnsafe(Math.max(length, this.#scratch.length * 2));
      this.#scratchEnd = 0;
    }
    return this.#scratchEnd;
  }
}
