import type { Code } from "../code.ts";
import {
  fieldBytes,
  fieldHeadBytesMax,
  numberFieldBytesMax,
  readTextRange,
  statusBytes,
  textFieldBytesMax,
  writeFieldHead,
  writeStatusField,
} from "./field.ts";
import { ResourceReader } from "./resource-reader.ts";
import { Scratch } from "./scratch.ts";
import { copyBytes } from "./text.ts";
import {
  beginReading,
  malformed,
  next,
  readRange,
  readTag,
  readTagAgain,
  seekAgain,
  skipValue,
  WireType,
} from "./wire.ts";

/** Entries in one AckMessageRequest. */
export const ackEntriesMax = 1024;

/** An AckMessageRequest, read without decoding its entries; reused. Ranges are valid as long as the request's bytes are. */
export class AckMessageScan {
  readonly group = new ResourceReader();
  readonly topic = new ResourceReader();
  entryCount = 0;
  /** The buffer of the ranges below. */
  bytes: Buffer = emptyBuffer;
  /** The entry at the cursor; a part that is absent has length 0. */
  messageIdStart = 0;
  messageIdEnd = 0;
  receiptHandleStart = 0;
  receiptHandleEnd = 0;
  liteTopicStart = 0;
  liteTopicEnd = 0;
  #cursor = 0;
  #end = 0;

  /** Throws `MeshError` (BAD_REQUEST) when `bytes[start, end)` is no sound request. */
  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.group.clear();
    this.topic.clear();
    this.entryCount = 0;
    this.bytes = bytes;
    this.#cursor = start;
    this.#end = end;
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
        case (3 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          if (++this.entryCount > ackEntriesMax) {
            throw malformed(`it acknowledges more than ${ackEntriesMax} messages, send several requests`);
          }
          checkEntry(bytes, from, at);
          continue;
        }
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
  }

  /** Moves to the first, then to the next entry; false behind the last. */
  nextEntry(): boolean {
    const bytes = this.bytes;
    let at = seekAgain(bytes, this.#cursor, this.#end, (3 << 3) | WireType.Bytes);
    if (at < 0) return false;
    at = readRange(bytes, at, this.#end);
    const end = next;
    this.#cursor = end;
    this.messageIdStart = this.messageIdEnd = at;
    this.receiptHandleStart = this.receiptHandleEnd = at;
    this.liteTopicStart = this.liteTopicEnd = at;
    while (at < end) {
      const tag = readTagAgain(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes:
          this.messageIdStart = readRange(bytes, next, end);
          this.messageIdEnd = next;
          break;
        case (2 << 3) | WireType.Bytes:
          this.receiptHandleStart = readRange(bytes, next, end);
          this.receiptHandleEnd = next;
          break;
        case (3 << 3) | WireType.Bytes:
          this.liteTopicStart = readRange(bytes, next, end);
          this.liteTopicEnd = next;
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
    return true;
  }
}

const emptyBuffer = Buffer.alloc(0);

function checkEntry(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    switch (tag) {
      case (1 << 3) | WireType.Bytes:
      case (2 << 3) | WireType.Bytes:
      case (3 << 3) | WireType.Bytes:
        readTextRange(bytes, next, end);
        break;
      default:
        skipValue(bytes, next, end, tag);
    }
  }
}

/** Writes AckMessageResponse messages; one object is reused. `begin`, `addEntry` per entry, then `length` and `copyTo`. */
export class AckMessageResponseWriter {
  readonly #scratch = new Scratch();

  /** `code` is the common code of the entries, or MULTIPLE_RESULTS. */
  begin(code: Code, message: string): void {
    const scratch = this.#scratch;
    scratch.clear();
    scratch.reserve(fieldHeadBytesMax + numberFieldBytesMax + textFieldBytesMax(message));
    scratch.length = writeStatusField(scratch.bytes, 0, 1, code, message);
  }

  /** The result of one entry, in the order of the request; its id and handle are echoed from ranges of `echo`. */
  addEntry(
    code: Code,
    message: string,
    echo: Buffer,
    messageIdStart: number,
    messageIdEnd: number,
    receiptHandleStart: number,
    receiptHandleEnd: number,
  ): void {
    const idBytes = messageIdEnd - messageIdStart;
    const handleBytes = receiptHandleEnd - receiptHandleStart;
    const contentBytes =
      (idBytes > 0 ? fieldBytes(idBytes) : 0) +
      (handleBytes > 0 ? fieldBytes(handleBytes) : 0) +
      fieldBytes(statusBytes(code, message));
    const scratch = this.#scratch;
    scratch.reserve(fieldHeadBytesMax + contentBytes);
    const into = scratch.bytes;
    let at = writeFieldHead(into, scratch.length, 2, contentBytes);
    if (idBytes > 0) {
      at = writeFieldHead(into, at, 1, idBytes);
      at = copyBytes(echo, messageIdStart, messageIdEnd, into, at);
    }
    if (handleBytes > 0) {
      at = writeFieldHead(into, at, 2, handleBytes);
      at = copyBytes(echo, receiptHandleStart, receiptHandleEnd, into, at);
    }
    scratch.length = writeStatusField(into, at, 3, code, message);
  }

  /** Size of the response. */
  get length(): number {
    return this.#scratch.length;
  }

  /** Writes the response. */
  copyTo(into: Buffer, at: number): void {
    this.#scratch.copyTo(into, at);
  }
}
