import {
  fieldHeadBytesMax,
  numberFieldBytes,
  numberFieldBytesMax,
  textFieldBytes,
  textFieldBytesMax,
  writeFieldHead,
  writeNumberField,
  writeTextField,
} from "./field.ts";
import { receiptsMax } from "./frame-ack-body.ts";
import {
  beginReading,
  next,
  readInt32,
  readRange,
  readTag,
  readUint32,
  readUint64,
  seekAgain,
  skipValue,
  tooMany,
  WireType,
} from "./wire.ts";

/** ChangeRequest; ResultsReader of frame-ack-body.ts reads its answer. The rules of use are in frame-body.ts. */

const emptyBuffer = Buffer.alloc(0);

/** Numbers of the enum ChangeKind. */
export const ChangeKind = { Renew: 1, Extend: 2, HandBack: 3, Suspend: 4 } as const;
export type ChangeKind = (typeof ChangeKind)[keyof typeof ChangeKind];

export function writeChangeGroup(into: Buffer, at: number, groupId: number): number {
  return writeNumberField(into, at, 1, groupId);
}

export const changeGroupBytesMax = numberFieldBytesMax;

export function changeBytesMax(receipt: string): number {
  return fieldHeadBytesMax + textFieldBytesMax(receipt) + 2 * numberFieldBytesMax;
}

/** Appends one change to the body of a ChangeRequest, which `writeChangeGroup` began. */
export function writeChange(into: Buffer, at: number, receipt: string, kind: ChangeKind, invisibleMs: number): number {
  at = writeFieldHead(into, at, 2, textFieldBytes(receipt) + numberFieldBytes(kind) + numberFieldBytes(invisibleMs));
  at = writeTextField(into, at, 1, receipt);
  at = writeNumberField(into, at, 2, kind);
  return writeNumberField(into, at, 3, invisibleMs);
}

/** The fields of the change at the cursor are set by `nextChange`. */
export class ChangeRequestReader {
  groupId = 0;
  changeCount = 0;
  receiptStart = 0;
  receiptEnd = 0;
  /** As sent: 0 or a number that is no `ChangeKind` must be refused. */
  kind = 0;
  invisibleMs = 0;
  #bytes: Buffer = emptyBuffer;
  #cursor = 0;
  #end = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.groupId = 0;
    this.changeCount = 0;
    this.#bytes = bytes;
    this.#cursor = start;
    this.#end = end;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.groupId = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.changeCount++;
          this.#readChange(bytes, from, at);
          continue;
        }
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
    if (this.changeCount > receiptsMax) throw tooMany("changes", this.changeCount, receiptsMax);
  }

  /** Moves to the first, then to the next change; false behind the last. */
  nextChange(): boolean {
    const at = seekAgain(this.#bytes, this.#cursor, this.#end, (2 << 3) | WireType.Bytes);
    if (at < 0) return false;
    const from = readRange(this.#bytes, at, this.#end);
    this.#cursor = next;
    beginReading();
    this.#readChange(this.#bytes, from, next);
    return true;
  }

  #readChange(bytes: Buffer, start: number, end: number): void {
    this.receiptStart = start;
    this.receiptEnd = start;
    this.kind = 0;
    this.invisibleMs = 0;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes:
          this.receiptStart = readRange(bytes, next, end);
          this.receiptEnd = next;
          break;
        case (2 << 3) | WireType.Varint:
          this.kind = readInt32(bytes, next, end);
          break;
        case (3 << 3) | WireType.Varint:
          this.invisibleMs = readUint64(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
  }
}
