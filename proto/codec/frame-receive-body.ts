import {
  fieldBytes,
  fieldHeadBytesMax,
  numberFieldBytes,
  numberFieldBytesMax,
  readCachedText,
  readFreshText,
  textFieldBytes,
  textFieldBytesMax,
  writeFieldHead,
  writeNumberField,
  writeTextField,
} from "./field.ts";
import { copyBytes } from "./text.ts";
import {
  beginReading,
  next,
  readRange,
  readTag,
  readUint32,
  readUint64,
  seekAgain,
  skipValue,
  tooMany,
  WireType,
} from "./wire.ts";

/** ReceiveRequest and ReceiveAnswer; the rules of use are in frame-body.ts. */

/** Deliveries in one ReceiveAnswer. */
export const deliveriesMax = 1024;

const emptyBuffer = Buffer.alloc(0);

/** What a ReceiveRequest says; the writer takes any object of this shape, the reader is one. */
export interface ReceiveRequestFields {
  readonly topicId: number;
  readonly groupId: number;
  readonly batch: number;
  readonly invisibleMs: number;
  readonly waitMs: number;
  readonly filterType: number;
  readonly filter: string;
  readonly clientId: string;
  readonly attemptId: string;
  readonly lane: string;
  readonly bytesMax: number;
}

export function receiveRequestBytesMax(request: ReceiveRequestFields): number {
  return (
    7 * numberFieldBytesMax +
    textFieldBytesMax(request.filter) +
    textFieldBytesMax(request.clientId) +
    textFieldBytesMax(request.attemptId) +
    textFieldBytesMax(request.lane)
  );
}

export function writeReceiveRequest(into: Buffer, at: number, request: ReceiveRequestFields): number {
  at = writeNumberField(into, at, 1, request.topicId);
  at = writeNumberField(into, at, 2, request.groupId);
  at = writeNumberField(into, at, 3, request.batch);
  at = writeNumberField(into, at, 4, request.invisibleMs);
  at = writeNumberField(into, at, 5, request.waitMs);
  at = writeNumberField(into, at, 6, request.filterType);
  at = writeTextField(into, at, 7, request.filter);
  at = writeTextField(into, at, 8, request.clientId);
  at = writeTextField(into, at, 9, request.attemptId);
  at = writeTextField(into, at, 10, request.lane);
  return writeNumberField(into, at, 11, request.bytesMax);
}

export class ReceiveRequestReader implements ReceiveRequestFields {
  topicId = 0;
  groupId = 0;
  batch = 0;
  invisibleMs = 0;
  waitMs = 0;
  filterType = 0;
  filter = "";
  clientId = "";
  attemptId = "";
  lane = "";
  bytesMax = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.topicId = 0;
    this.groupId = 0;
    this.batch = 0;
    this.invisibleMs = 0;
    this.waitMs = 0;
    this.filterType = 0;
    this.filter = "";
    this.clientId = "";
    this.attemptId = "";
    this.lane = "";
    this.bytesMax = 0;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.topicId = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Varint:
          this.groupId = readUint32(bytes, next, end);
          break;
        case (3 << 3) | WireType.Varint:
          this.batch = readUint32(bytes, next, end);
          break;
        case (4 << 3) | WireType.Varint:
          this.invisibleMs = readUint64(bytes, next, end);
          break;
        case (5 << 3) | WireType.Varint:
          this.waitMs = readUint64(bytes, next, end);
          break;
        case (6 << 3) | WireType.Varint:
          this.filterType = readUint32(bytes, next, end);
          break;
        case (7 << 3) | WireType.Bytes:
          this.filter = readCachedText(bytes, next, end);
          break;
        case (8 << 3) | WireType.Bytes:
          this.clientId = readCachedText(bytes, next, end);
          break;
        case (9 << 3) | WireType.Bytes:
          this.attemptId = readFreshText(bytes, next, end);
          break;
        case (10 << 3) | WireType.Bytes:
          this.lane = readCachedText(bytes, next, end);
          break;
        case (11 << 3) | WireType.Varint:
          this.bytesMax = readUint32(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
  }
}

/** Where a message of a dead-letter queue came from. */
export interface DeadLetterOriginFields {
  readonly topic: string;
  readonly messageId: string;
  readonly queueId: number;
  readonly offset: number;
  readonly attempts: number;
  readonly reason: string;
  readonly lastHolder: string;
  readonly deadMs: number;
}

/** One message to hand out; the broker keeps one such object and fills it anew for each. */
export interface DeliveryFields {
  /** `message[messageStart, messageEnd)` is the Message as stored. */
  readonly message: Buffer;
  readonly messageStart: number;
  readonly messageEnd: number;
  readonly receipt: string;
  readonly queueId: number;
  readonly offset: number;
  /** 1 on the first hand-out. */
  readonly attempt: number;
  readonly storeMs: number;
  readonly bornHost: string;
  readonly lane: string;
  /** Of a copy: place of its original; else "". */
  readonly mirrorOf: string;
  readonly deadLetter: DeadLetterOriginFields | undefined;
}

export function deliveryBytesMax(delivery: DeliveryFields): number {
  const origin = delivery.deadLetter;
  return (
    fieldHeadBytesMax +
    fieldHeadBytesMax +
    (delivery.messageEnd - delivery.messageStart) +
    4 * numberFieldBytesMax +
    textFieldBytesMax(delivery.receipt) +
    textFieldBytesMax(delivery.bornHost) +
    textFieldBytesMax(delivery.lane) +
    textFieldBytesMax(delivery.mirrorOf) +
    (origin === undefined ? 0 : fieldHeadBytesMax + originBytes(origin))
  );
}

/** Appends one delivery to the body of a ReceiveAnswer. */
export function writeDelivery(into: Buffer, at: number, delivery: DeliveryFields): number {
  const messageBytes = delivery.messageEnd - delivery.messageStart;
  const origin = delivery.deadLetter;
  const originLength = origin === undefined ? 0 : originBytes(origin);
  const length =
    (messageBytes === 0 ? 0 : fieldBytes(messageBytes)) +
    textFieldBytes(delivery.receipt) +
    numberFieldBytes(delivery.queueId) +
    numberFieldBytes(delivery.offset) +
    numberFieldBytes(delivery.attempt) +
    numberFieldBytes(delivery.storeMs) +
    textFieldBytes(delivery.bornHost) +
    textFieldBytes(delivery.lane) +
    textFieldBytes(delivery.mirrorOf) +
    (origin === undefined ? 0 : fieldBytes(originLength));
  at = writeFieldHead(into, at, 1, length);
  if (messageBytes > 0) {
    at = writeFieldHead(into, at, 1, messageBytes);
    at = copyBytes(delivery.message, delivery.messageStart, delivery.messageEnd, into, at);
  }
  at = writeTextField(into, at, 2, delivery.receipt);
  at = writeNumberField(into, at, 3, delivery.queueId);
  at = writeNumberField(into, at, 4, delivery.offset);
  at = writeNumberField(into, at, 5, delivery.attempt);
  at = writeNumberField(into, at, 6, delivery.storeMs);
  at = writeTextField(into, at, 7, delivery.bornHost);
  at = writeTextField(into, at, 8, delivery.lane);
  if (origin !== undefined) at = writeOrigin(into, writeFieldHead(into, at, 9, originLength), origin);
  return writeTextField(into, at, 10, delivery.mirrorOf);
}

function originBytes(origin: DeadLetterOriginFields): number {
  return (
    textFieldBytes(origin.topic) +
    textFieldBytes(origin.messageId) +
    numberFieldBytes(origin.queueId) +
    numberFieldBytes(origin.offset) +
    numberFieldBytes(origin.attempts) +
    textFieldBytes(origin.reason) +
    textFieldBytes(origin.lastHolder) +
    numberFieldBytes(origin.deadMs)
  );
}

function writeOrigin(into: Buffer, at: number, origin: DeadLetterOriginFields): number {
  at = writeTextField(into, at, 1, origin.topic);
  at = writeTextField(into, at, 2, origin.messageId);
  at = writeNumberField(into, at, 3, origin.queueId);
  at = writeNumberField(into, at, 4, origin.offset);
  at = writeNumberField(into, at, 5, origin.attempts);
  at = writeTextField(into, at, 6, origin.reason);
  at = writeTextField(into, at, 7, origin.lastHolder);
  return writeNumberField(into, at, 8, origin.deadMs);
}

/** The fields of the delivery at the cursor are set by `nextDelivery`. */
export class ReceiveAnswerReader {
  deliveryCount = 0;
  messageStart = 0;
  messageEnd = 0;
  receiptStart = 0;
  receiptEnd = 0;
  queueId = 0;
  offset = 0;
  attempt = 0;
  storeMs = 0;
  bornHost = "";
  lane = "";
  mirrorOf = "";
  /** Whether `origin` holds something. */
  hasDeadLetter = false;
  /** Reused for every delivery: copy what is kept. */
  readonly origin = new DeadLetterOriginReader();
  #bytes: Buffer = emptyBuffer;
  #cursor = 0;
  #end = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.deliveryCount = 0;
    this.#bytes = bytes;
    this.#cursor = start;
    this.#end = end;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) {
        const from = readRange(bytes, next, end);
        at = next;
        this.deliveryCount++;
        this.#readDelivery(bytes, from, at);
      } else {
        skipValue(bytes, next, end, tag);
        at = next;
      }
    }
    if (this.deliveryCount > deliveriesMax) throw tooMany("deliveries", this.deliveryCount, deliveriesMax);
  }

  /** Moves to the first, then to the next delivery; false behind the last. */
  nextDelivery(): boolean {
    const at = seekAgain(this.#bytes, this.#cursor, this.#end, (1 << 3) | WireType.Bytes);
    if (at < 0) return false;
    const from = readRange(this.#bytes, at, this.#end);
    this.#cursor = next;
    beginReading();
    this.#readDelivery(this.#bytes, from, next);
    return true;
  }

  #readDelivery(bytes: Buffer, start: number, end: number): void {
    this.messageStart = start;
    this.messageEnd = start;
    this.receiptStart = start;
    this.receiptEnd = start;
    this.queueId = 0;
    this.offset = 0;
    this.attempt = 0;
    this.storeMs = 0;
    this.bornHost = "";
    this.lane = "";
    this.mirrorOf = "";
    this.hasDeadLetter = false;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes:
          this.messageStart = readRange(bytes, next, end);
          this.messageEnd = next;
          break;
        case (2 << 3) | WireType.Bytes:
          this.receiptStart = readRange(bytes, next, end);
          this.receiptEnd = next;
          break;
        case (3 << 3) | WireType.Varint:
          this.queueId = readUint32(bytes, next, end);
          break;
        case (4 << 3) | WireType.Varint:
          this.offset = readUint64(bytes, next, end);
          break;
        case (5 << 3) | WireType.Varint:
          this.attempt = readUint32(bytes, next, end);
          break;
        case (6 << 3) | WireType.Varint:
          this.storeMs = readUint64(bytes, next, end);
          break;
        case (7 << 3) | WireType.Bytes:
          this.bornHost = readCachedText(bytes, next, end);
          break;
        case (8 << 3) | WireType.Bytes:
          this.lane = readCachedText(bytes, next, end);
          break;
        case (9 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          // A message in two parts is one message: only the first part starts from nothing.
          if (!this.hasDeadLetter) this.origin.clear();
          this.hasDeadLetter = true;
          this.origin.merge(bytes, from, at);
          continue;
        }
        case (10 << 3) | WireType.Bytes:
          this.mirrorOf = readFreshText(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
  }
}

export class DeadLetterOriginReader implements DeadLetterOriginFields {
  topic = "";
  messageId = "";
  queueId = 0;
  offset = 0;
  attempts = 0;
  reason = "";
  lastHolder = "";
  deadMs = 0;

  clear(): void {
    this.topic = "";
    this.messageId = "";
    this.queueId = 0;
    this.offset = 0;
    this.attempts = 0;
    this.reason = "";
    this.lastHolder = "";
    this.deadMs = 0;
  }

  merge(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes:
          this.topic = readCachedText(bytes, next, end);
          break;
        case (2 << 3) | WireType.Bytes:
          this.messageId = readFreshText(bytes, next, end);
          break;
        case (3 << 3) | WireType.Varint:
          this.queueId = readUint32(bytes, next, end);
          break;
        case (4 << 3) | WireType.Varint:
          this.offset = readUint64(bytes, next, end);
          break;
        case (5 << 3) | WireType.Varint:
          this.attempts = readUint32(bytes, next, end);
          break;
        case (6 << 3) | WireType.Bytes:
          this.reason = readCachedText(bytes, next, end);
          break;
        case (7 << 3) | WireType.Bytes:
          this.lastHolder = readFreshText(bytes, next, end);
          break;
        case (8 << 3) | WireType.Varint:
          this.deadMs = readUint64(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
  }
}
