import type { Code } from "../code.ts";
import {
  fieldBytes,
  fieldHeadBytesMax,
  numberFieldBytes,
  numberFieldBytesMax,
  statusBytes,
  textFieldBytes,
  textFieldBytesMax,
  writeFieldHead,
  writeNumberField,
  writeStatusField,
  writeTextField,
} from "./field.ts";
import { sendMessagesMax } from "./frame-send-body.ts";
import { MessageScan, scanMessagePart } from "./message-scan.ts";
import { Scratch } from "./scratch.ts";
import { copyBytes } from "./text.ts";
import { beginReading, malformed, next, readRange, readTag, skipValue, WireType } from "./wire.ts";

/**
 * A SendMessageRequest, scanned lazily: one `MessageScan` per message, nothing decoded. One object is reused for many
 * requests. Valid until the next `read`, and as long as the request's bytes are.
 */
export class SendMessageScan {
  /** Messages of this request: `messages[0 … messageCount)`. */
  messageCount = 0;
  readonly messages: MessageScan[] = [];

  /** Throws `MeshError` (BAD_REQUEST) when `bytes[start, end)` is no sound request. */
  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.messageCount = 0;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) {
        const from = readRange(bytes, next, end);
        at = next;
        if (this.messageCount === sendMessagesMax) {
          throw malformed(`it holds more than ${sendMessagesMax} messages, send them in several requests`);
        }
        const index = this.messageCount++;
        scanMessagePart(bytes, from, at, (this.messages[index] ??= new MessageScan()));
      } else {
        skipValue(bytes, next, end, tag);
        at = next;
      }
    }
  }
}

/** Writes SendMessageResponse messages; one object is reused. `begin`, `addEntry` per message, then `length` and `copyTo`. */
export class SendMessageResponseWriter {
  readonly #scratch = new Scratch();

  /** `code` is the common code of the entries, or MULTIPLE_RESULTS. */
  begin(code: Code, message: string): void {
    const scratch = this.#scratch;
    scratch.clear();
    scratch.reserve(fieldHeadBytesMax + numberFieldBytesMax + textFieldBytesMax(message));
    scratch.length = writeStatusField(scratch.bytes, 0, 1, code, message);
  }

  /**
   * The result of one message, in the order of the request. `ids[idStart, idEnd)` is the client's message id.
   * `transactionId` and `recallHandle` are "" where the message has none.
   */
  addEntry(
    code: Code,
    message: string,
    ids: Buffer,
    idStart: number,
    idEnd: number,
    offset: number,
    transactionId: string,
    recallHandle: string,
  ): void {
    const idBytes = idEnd - idStart;
    const contentBytes =
      fieldBytes(statusBytes(code, message)) +
      (idBytes > 0 ? fieldBytes(idBytes) : 0) +
      textFieldBytes(transactionId) +
      numberFieldBytes(offset) +
      textFieldBytes(recallHandle);
    const scratch = this.#scratch;
    scratch.reserve(fieldHeadBytesMax + contentBytes);
    const into = scratch.bytes;
    let at = writeFieldHead(into, scratch.length, 2, contentBytes);
    at = writeStatusField(into, at, 1, code, message);
    if (idBytes > 0) {
      at = writeFieldHead(into, at, 2, idBytes);
      at = copyBytes(ids, idStart, idEnd, into, at);
    }
    at = writeTextField(into, at, 3, transactionId);
    at = writeNumberField(into, at, 4, offset);
    scratch.length = writeTextField(into, at, 5, recallHandle);
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
