import type { Code } from "../code.ts";
import {
  fieldBytes,
  readCachedText,
  readFreshText,
  statusBytes,
  textFieldBytes,
  writeStatusField,
  writeTextField,
} from "./field.ts";
import { ResourceReader } from "./resource-reader.ts";
import { TimeReader } from "./time.ts";
import { beginReading, next, readBool, readRange, readTag, skipValue, WireType } from "./wire.ts";

/** A ChangeInvisibleDurationRequest; reused. Texts and numbers are the caller's to keep. */
export class ChangeInvisibleDurationReader {
  readonly group = new ResourceReader();
  readonly topic = new ResourceReader();
  receiptHandle = "";
  readonly invisibleDuration = new TimeReader();
  messageId = "";
  /** "" when absent. */
  liteTopic = "";
  /** True: the attempt does not count. */
  suspend = false;

  /** Throws `MeshError` (BAD_REQUEST) when `bytes[start, end)` is no sound request. */
  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.group.clear();
    this.topic.clear();
    this.receiptHandle = "";
    this.invisibleDuration.clear();
    this.messageId = "";
    this.liteTopic = "";
    this.suspend = false;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.group.merge(bytes, from, at);
          continue;
        }
        case (2 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.topic.merge(bytes, from, at);
          continue;
        }
        case (3 << 3) | WireType.Bytes:
          this.receiptHandle = readFreshText(bytes, next, end);
          break;
        case (4 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.invisibleDuration.merge(bytes, from, at);
          continue;
        }
        case (5 << 3) | WireType.Bytes:
          this.messageId = readFreshText(bytes, next, end);
          break;
        case (6 << 3) | WireType.Bytes:
          this.liteTopic = readCachedText(bytes, next, end);
          break;
        case (7 << 3) | WireType.Varint:
          this.suspend = readBool(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
  }
}

/** Size of a ChangeInvisibleDurationResponse; `receiptHandle` is the one that is valid from now on. */
export function changeResponseBytes(code: Code, message: string, receiptHandle: string): number {
  return fieldBytes(statusBytes(code, message)) + textFieldBytes(receiptHandle);
}

export function writeChangeResponse(
  into: Buffer,
  at: number,
  code: Code,
  message: string,
  receiptHandle: string,
): number {
  at = writeStatusField(into, at, 1, code, message);
  return writeTextField(into, at, 2, receiptHandle);
}
