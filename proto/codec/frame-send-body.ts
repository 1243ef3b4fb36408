import {
  fieldHeadBytesMax,
  numberFieldBytesMax,
  readCachedText,
  readFreshText,
  textFieldBytesMax,
  writeFieldHead,
  writeNumberField,
  writeTextElement,
  writeTextField,
} from "./field.ts";
import {
  beginReading,
  next,
  readBool,
  readRange,
  readTag,
  readUint32,
  readUint64,
  seekAgain,
  skipValue,
  tooMany,
  WireType,
} from "./wire.ts";

/** SendRequest and SendAnswer; the rules of use are in frame-body.ts. */

/** Messages in one SendMessageRequest, and so in the one SendRequest that carries them on. */
export const sendMessagesMax = 128;

const emptyBuffer = Buffer.alloc(0);

export function sendRequestBytesMax(
  laneMark: string,
  bornHost: string,
  messages: readonly Uint8Array[],
  groupSpread = 0,
): number {
  let bytes = numberFieldBytesMax + textFieldBytesMax(laneMark) + textFieldBytesMax(bornHost);
  if (groupSpread > 0) bytes += 2 * numberFieldBytesMax;
  for (let i = 0; i < messages.length; i++) bytes += fieldHeadBytesMax + messages[i]!.length;
  return bytes;
}

export function writeSendRequest(
  into: Buffer,
  at: number,
  topicId: number,
  laneMark: string,
  bornHost: string,
  messages: readonly Uint8Array[],
  groupSpread = 0,
  isEarlierHome = false,
): number {
  at = writeNumberField(into, at, 1, topicId);
  at = writeTextField(into, at, 2, laneMark);
  at = writeTextField(into, at, 3, bornHost);
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    at = writeFieldHead(into, at, 4, message.length);
    into.set(message, at);
    at += message.length;
  }
  if (groupSpread === 0) return at;
  at = writeNumberField(into, at, 5, groupSpread);
  return writeNumberField(into, at, 6, isEarlierHome ? 1 : 0);
}

export class SendRequestReader {
  topicId = 0;
  laneMark = "";
  bornHost = "";
  groupSpread = 0;
  isEarlierHome = false;
  messageCount = 0;
  /** Sum of the messages' sizes. */
  messageBytes = 0;
  /** The message at the cursor. */
  messageStart = 0;
  messageEnd = 0;
  #bytes: Buffer = emptyBuffer;
  #cursor = 0;
  #end = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.topicId = 0;
    this.laneMark = "";
    this.bornHost = "";
    this.groupSpread = 0;
    this.isEarlierHome = false;
    this.messageCount = 0;
    this.messageBytes = 0;
    this.#bytes = bytes;
    this.#cursor = start;
    this.#end = end;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.topicId = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Bytes:
          this.laneMark = readCachedText(bytes, next, end);
          break;
        case (3 << 3) | WireType.Bytes:
          this.bornHost = readCachedText(bytes, next, end);
          break;
        case (4 << 3) | WireType.Bytes:
          this.messageBytes -= readRange(bytes, next, end);
          this.messageBytes += next;
          this.messageCount++;
          break;
        case (5 << 3) | WireType.Varint:
          this.groupSpread = readUint64(bytes, next, end);
          break;
        case (6 << 3) | WireType.Varint:
          this.isEarlierHome = readBool(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
    if (this.messageCount > sendMessagesMax) throw tooMany("messages", this.messageCount, sendMessagesMax);
  }

  /** Moves to the first, then to the next message; false behind the last. */
  nextMessage(): boolean {
    const at = seekAgain(this.#bytes, this.#cursor, this.#end, (4 << 3) | WireType.Bytes);
    if (at < 0) return false;
    this.messageStart = readRange(this.#bytes, at, this.#end);
    this.messageEnd = next;
    this.#cursor = next;
    return true;
  }
}

export function sendAnswerBytesMax(transactionId: string, recallHandles: readonly string[]): number {
  let bytesMax = 3 * numberFieldBytesMax + textFieldBytesMax(transactionId);
  for (const handle of recallHandles) bytesMax += textFieldBytesMax(handle);
  return bytesMax;
}

export function writeSendAnswer(
  into: Buffer,
  at: number,
  queueId: number,
  firstOffset: number,
  storeMs: number,
  transactionId: string,
  recallHandles: readonly string[],
): number {
  at = writeNumberField(into, at, 1, queueId);
  at = writeNumberField(into, at, 2, firstOffset);
  at = writeNumberField(into, at, 3, storeMs);
  for (const handle of recallHandles) at = writeTextElement(into, at, 4, handle);
  return writeTextField(into, at, 5, transactionId);
}

const noHandles: readonly string[] = [];

export class SendAnswerReader {
  queueId = 0;
  firstOffset = 0;
  storeMs = 0;
  transactionId = "";
  /** Of timed messages: one per message. A list of its own for each answer that has any. */
  recallHandles: readonly string[] = noHandles;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.queueId = 0;
    this.firstOffset = 0;
    this.storeMs = 0;
    this.transactionId = "";
    this.recallHandles = noHandles;
    let handles: string[] | undefined;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.queueId = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Varint:
          this.firstOffset = readUint64(bytes, next, end);
          break;
        case (3 << 3) | WireType.Varint:
          this.storeMs = readUint64(bytes, next, end);
          break;
        case (4 << 3) | WireType.Bytes:
          if (handles === undefined) this.recallHandles = handles = [];
          handles.push(readFreshText(bytes, next, end));
          break;
        case (5 << 3) | WireType.Bytes:
          this.transactionId = readFreshText(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
  }
}
