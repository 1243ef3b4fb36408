import { readTextRange } from "./field.ts";
import { joinPieces, type MessageFields } from "./join-pieces.ts";
import { readText } from "./text.ts";
import { TimeReader } from "./time.ts";
import {
  beginReading,
  malformed,
  next,
  readInt32,
  readInt64,
  readRange,
  readTag,
  readTagAgain,
  seekAgain,
  skipValue,
  WireType,
} from "./wire.ts";

const emptyBuffer = Buffer.alloc(0);

/** Keys of one message. */
export const keysMax = 1024;

/** Fields of SystemProperties that only the server may set; what a producer put there is taken out on delivery. */
export function isServerOwned(field: number): boolean {
  switch (field) {
    case 4: // body_digest
    case 9: // store_timestamp
    case 10: // store_host
    case 12: // receipt_handle
    case 13: // queue_id
    case 14: // queue_offset
    case 15: // invisible_duration
    case 16: // delivery_attempt
    case 20: // dead_letter_queue
      return true;
    default:
      return false;
  }
}

/**
 * What one `apache.rocketmq.v2.Message` says, found in one pass without decoding it: offsets into `bytes`, and numbers.
 * One scan object is reused for many messages; a scan is valid until the next `scanMessage` into it, and only as long as
 * the bytes it was made from are. A text that is absent has a range of length 0, or start -1 where absence has a meaning.
 *
 * A message that passes is sound to its last byte: everything the schema names was checked, UTF-8 included, so that no
 * SDK stumbles over it on delivery. What the schema does not name is kept and not looked into.
 */
export class MessageScan {
  /** The buffer of all ranges: the caller's own, or a copy when the message had to be rewritten (see `isRewritten`). */
  bytes: Buffer = emptyBuffer;
  /** The whole Message: what is forwarded and stored. */
  start = 0;
  end = 0;
  /**
   * True when a part of the message came in several pieces, which the protobuf rules merge but many decoders do not: then
   * `bytes` is a copy in which every part is in one piece, unknown fields included.
   */
  isRewritten = false;

  namespaceStart = 0;
  namespaceEnd = 0;
  topicStart = 0;
  topicEnd = 0;
  messageIdStart = 0;
  messageIdEnd = 0;
  /** -1: the message has no tag. */
  tagStart = -1;
  tagEnd = -1;
  /** See `KeyCursor`. */
  keyCount = 0;
  /** -1: the message has no group. */
  messageGroupStart = -1;
  messageGroupEnd = -1;
  /** -1: none. */
  liteTopicStart = -1;
  liteTopicEnd = -1;
  /** -1: none. */
  traceContextStart = -1;
  traceContextEnd = -1;
  bornHostStart = 0;
  bornHostEnd = 0;
  hasBornTimestamp = false;
  bornMs = 0;
  /** A number of enum MessageType, or one that this version does not know. */
  messageType = 0;
  /** A number of enum Encoding, or one that this version does not know. */
  bodyEncoding = 0;
  hasBodyDigest = false;
  hasDeliveryTimestamp = false;
  deliveryMs = 0;
  hasRecoveryDuration = false;
  /** Earliest check of an orphaned transaction. */
  recoveryMs = 0;
  hasPriority = false;
  priority = 0;
  /** The client's wish. */
  queueId = 0;
  /** Entries of user_properties (see `PropertyCursor`), and the sum of the sizes of their keys and values. */
  propertyCount = 0;
  propertyBytes = 0;
  bodyStart = 0;
  bodyEnd = 0;
  /** Content of system_properties, and the field with its tag and length; both empty, at the end, when it is absent. */
  systemStart = 0;
  systemEnd = 0;
  systemFieldStart = 0;
  systemFieldEnd = 0;
  /** Bytes within system_properties that hold fields only the server may set. */
  serverOwnedBytes = 0;

  /** The text of a range; "" when it is absent. */
  text(start: number, end: number): string {
    return start < 0 ? "" : readText(this.bytes, start, end);
  }

  /** A copy of the whole message, to be kept. */
  copy(): Buffer {
    return Buffer.from(this.bytes.subarray(this.start, this.end));
  }
}

const plain: MessageFields = new Map();
/** The parts of a Message that are messages: topic and system_properties, and those of the latter. */
const messageFields: MessageFields = new Map([
  [1, plain],
  [3, new Map([4, 7, 9, 11, 15, 19, 20].map((field) => [field, plain]))],
]);

/** Set when a part was met for the second time. */
let isInPieces = false;

/** Scans `bytes[start, end)`. Throws `MeshError` (BAD_REQUEST) when that is no sound Message. */
export function scanMessage(bytes: Buffer, start: number, end: number, scan: MessageScan): void {
  beginReading();
  scanMessagePart(bytes, start, end, scan);
}

/** As `scanMessage`, for a message within a request that was begun with `beginReading`. */
export function scanMessagePart(bytes: Buffer, start: number, end: number, scan: MessageScan): void {
  isInPieces = false;
  scanFields(bytes, start, end, scan);
  scan.isRewritten = isInPieces;
  if (!isInPieces) return;
  const whole = joinPieces(bytes.subarray(start, end), messageFields);
  scanFields(whole, 0, whole.length, scan);
}

function scanFields(bytes: Buffer, start: number, end: number, scan: MessageScan): void {
  reset(scan, bytes, start, end);
  let hasTopic = false;
  let hasSystem = false;
  let at = start;
  while (at < end) {
    const tag = readTag(bytes, at, end);
    switch (tag) {
      case (1 << 3) | WireType.Bytes: {
        const from = readRange(bytes, next, end);
        at = next;
        if (hasTopic) isInPieces = true;
        hasTopic = true;
        scanTopic(bytes, from, at, scan);
        continue;
      }
      case (2 << 3) | WireType.Bytes: {
        const from = readRange(bytes, next, end);
        at = next;
        scan.propertyCount++;
        scan.propertyBytes += scanProperty(bytes, from, at);
        continue;
      }
      case (3 << 3) | WireType.Bytes: {
        scan.systemStart = readRange(bytes, next, end);
        scan.systemEnd = next;
        scan.systemFieldStart = at;
        scan.systemFieldEnd = at = next;
        if (hasSystem) isInPieces = true;
        hasSystem = true;
        scanSystem(bytes, scan.systemStart, at, scan);
        continue;
      }
      case (4 << 3) | WireType.Bytes:
        scan.bodyStart = readRange(bytes, next, end);
        scan.bodyEnd = next;
        break;
      default:
        skipValue(bytes, next, end, tag);
    }
    at = next;
  }
}

function scanTopic(bytes: Buffer, start: number, end: number, scan: MessageScan): void {
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    if (tag === ((1 << 3) | WireType.Bytes)) {
      scan.namespaceStart = readTextRange(bytes, next, end);
      scan.namespaceEnd = next;
    } else if (tag === ((2 << 3) | WireType.Bytes)) {
      scan.topicStart = readTextRange(bytes, next, end);
      scan.topicEnd = next;
    } else skipValue(bytes, next, end, tag);
  }
}

/** One map entry; returns the sizes of its key and value together. */
function scanProperty(bytes: Buffer, start: number, end: number): number {
  let keyBytes = 0;
  let valueBytes = 0;
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    if (tag === ((1 << 3) | WireType.Bytes)) {
      const from = readTextRange(bytes, next, end);
      keyBytes = next - from;
    } else if (tag === ((2 << 3) | WireType.Bytes)) {
      const from = readTextRange(bytes, next, end);
      valueBytes = next - from;
    } else skipValue(bytes, next, end, tag);
  }
  return keyBytes + valueBytes;
}

function scanSystem(bytes: Buffer, start: number, end: number, scan: MessageScan): void {
  /** Bit n: the message field n was met. */
  let met = 0;
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    switch (tag) {
      case (1 << 3) | WireType.Bytes:
        scan.tagStart = readTextRange(bytes, next, end);
        scan.tagEnd = next;
        break;
      case (2 << 3) | WireType.Bytes:
        readTextRange(bytes, next, end);
        if (++scan.keyCount > keysMax) throw malformed(`it has more than ${keysMax} keys`);
        break;
      case (3 << 3) | WireType.Bytes:
        scan.messageIdStart = readTextRange(bytes, next, end);
        scan.messageIdEnd = next;
        break;
      case (5 << 3) | WireType.Varint:
        scan.bodyEncoding = readInt32(bytes, next, end);
        break;
      case (6 << 3) | WireType.Varint:
        scan.messageType = readInt32(bytes, next, end);
        break;
      case (8 << 3) | WireType.Bytes:
        scan.bornHostStart = readTextRange(bytes, next, end);
        scan.bornHostEnd = next;
        break;
      case (10 << 3) | WireType.Bytes: // store_host
      case (12 << 3) | WireType.Bytes: // receipt_handle
        readTextRange(bytes, next, end);
        break;
      case (13 << 3) | WireType.Varint:
        scan.queueId = readInt32(bytes, next, end);
        break;
      case (14 << 3) | WireType.Varint: // queue_offset
        readInt64(bytes, next, end);
        break;
      case (17 << 3) | WireType.Bytes:
        scan.messageGroupStart = readTextRange(bytes, next, end);
        scan.messageGroupEnd = next;
        break;
      case (18 << 3) | WireType.Bytes:
        scan.traceContextStart = readTextRange(bytes, next, end);
        scan.traceContextEnd = next;
        break;
      case (21 << 3) | WireType.Bytes:
        scan.liteTopicStart = readTextRange(bytes, next, end);
        scan.liteTopicEnd = next;
        break;
      case (22 << 3) | WireType.Varint:
        scan.priority = readInt32(bytes, next, end);
        scan.hasPriority = true;
        break;
      case (4 << 3) | WireType.Bytes:
      case (7 << 3) | WireType.Bytes:
      case (9 << 3) | WireType.Bytes:
      case (11 << 3) | WireType.Bytes:
      case (15 << 3) | WireType.Bytes:
      case (19 << 3) | WireType.Bytes:
      case (20 << 3) | WireType.Bytes: {
        const field = tag >>> 3;
        const bit = 1 << field;
        if ((met & bit) !== 0) isInPieces = true;
        met |= bit;
        scanSystemPart(bytes, next, end, scan, field);
        break;
      }
      default:
        skipValue(bytes, next, end, tag);
    }
    if (isServerOwned(tag >>> 3)) scan.serverOwnedBytes += next - at;
  }
}

/** A field of SystemProperties that is a message itself. Every branch reads it to its end. */
function scanSystemPart(bytes: Buffer, at: number, end: number, scan: MessageScan, field: number): void {
  const from = readRange(bytes, at, end);
  const to = next;
  switch (field) {
    case 4:
      scan.hasBodyDigest = true;
      scanDigest(bytes, from, to);
      break;
    case 7:
      scan.hasBornTimestamp = true;
      scan.bornMs = readMs(bytes, from, to);
      break;
    case 11:
      scan.hasDeliveryTimestamp = true;
      readMs(bytes, from, to);
      // A message must not come before its time, not even by part of a millisecond.
      scan.deliveryMs = time.seconds * 1000 + Math.ceil(time.nanos / 1e6);
      break;
    case 19:
      scan.hasRecoveryDuration = true;
      scan.recoveryMs = readMs(bytes, from, to);
      break;
    case 20:
      scanDeadLetterQueue(bytes, from, to);
      break;
    default: // store_timestamp, invisible_duration
      readMs(bytes, from, to);
  }
}

const time = new TimeReader();

function readMs(bytes: Buffer, start: number, end: number): number {
  time.clear();
  time.merge(bytes, start, end);
  return time.ms;
}

function scanDigest(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    if (tag === ((1 << 3) | WireType.Varint)) readInt32(bytes, next, end);
    else if (tag === ((2 << 3) | WireType.Bytes)) readTextRange(bytes, next, end);
    else skipValue(bytes, next, end, tag);
  }
}

function scanDeadLetterQueue(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end; at = next) {
    const tag = readTag(bytes, at, end);
    if (tag === ((1 << 3) | WireType.Bytes) || tag === ((2 << 3) | WireType.Bytes)) readTextRange(bytes, next, end);
    else skipValue(bytes, next, end, tag);
  }
}

function reset(scan: MessageScan, bytes: Buffer, start: number, end: number): void {
  scan.bytes = bytes;
  scan.start = start;
  scan.end = end;
  scan.namespaceStart = scan.namespaceEnd = end;
  scan.topicStart = scan.topicEnd = end;
  scan.messageIdStart = scan.messageIdEnd = end;
  scan.tagStart = scan.tagEnd = -1;
  scan.keyCount = 0;
  scan.messageGroupStart = scan.messageGroupEnd = -1;
  scan.liteTopicStart = scan.liteTopicEnd = -1;
  scan.traceContextStart = scan.traceContextEnd = -1;
  scan.bornHostStart = scan.bornHostEnd = end;
  scan.hasBornTimestamp = false;
  scan.bornMs = 0;
  scan.messageType = 0;
  scan.bodyEncoding = 0;
  scan.hasBodyDigest = false;
  scan.hasDeliveryTimestamp = false;
  scan.deliveryMs = 0;
  scan.hasRecoveryDuration = false;
  scan.recoveryMs = 0;
  scan.hasPriority = false;
  scan.priority = 0;
  scan.queueId = 0;
  scan.propertyCount = 0;
  scan.propertyBytes = 0;
  scan.bodyStart = scan.bodyEnd = end;
  scan.systemStart = scan.systemEnd = end;
  scan.systemFieldStart = scan.systemFieldEnd = end;
  scan.serverOwnedBytes = 0;
}

/** Walks the entries of user_properties of a scanned message, in the order of the wire; a key may come twice, the last counts. */
export class PropertyCursor {
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  #bytes: Buffer = emptyBuffer;
  #at = 0;
  #end = 0;

  begin(scan: MessageScan): void {
    this.#bytes = scan.bytes;
    this.#at = scan.start;
    this.#end = scan.end;
  }

  /** Moves to the first, then to the next entry; false behind the last. */
  next(): boolean {
    const bytes = this.#bytes;
    let at = seekAgain(bytes, this.#at, this.#end, (2 << 3) | WireType.Bytes);
    if (at < 0) return false;
    at = readRange(bytes, at, this.#end);
    const end = (this.#at = next);
    this.keyStart = this.keyEnd = at;
    this.valueStart = this.valueEnd = at;
    while (at < end) {
      const tag = readTagAgain(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) {
        this.keyStart = readRange(bytes, next, end);
        this.keyEnd = next;
      } else if (tag === ((2 << 3) | WireType.Bytes)) {
        this.valueStart = readRange(bytes, next, end);
        this.valueEnd = next;
      } else skipValue(bytes, next, end, tag);
      at = next;
    }
    return true;
  }
}

/** Walks the keys of a scanned message. */
export class KeyCursor {
  keyStart = 0;
  keyEnd = 0;
  #bytes: Buffer = emptyBuffer;
  #at = 0;
  #end = 0;

  begin(scan: MessageScan): void {
    this.#bytes = scan.bytes;
    this.#at = scan.systemStart;
    this.#end = scan.systemEnd;
  }

  /** Moves to the first, then to the next key; false behind the last. */
  next(): boolean {
    const at = seekAgain(this.#bytes, this.#at, this.#end, (2 << 3) | WireType.Bytes);
    if (at < 0) return false;
    this.keyStart = readRange(this.#bytes, at, this.#end);
    this.keyEnd = this.#at = next;
    return true;
  }
}
