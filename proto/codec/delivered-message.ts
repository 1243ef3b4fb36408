import { hash } from "node:crypto";
import {
  fieldBytes,
  numberFieldBytes,
  textFieldBytes,
  writeFieldHead,
  writeNumberField,
  writeTextField,
} from "./field.ts";
import { isServerOwned, type MessageScan } from "./message-scan.ts";
import { copyBytes } from "./text.ts";
import { timeBytes, writeTime } from "./time.ts";
import { next, readTagAgain, skipValue, varintBytes, WireType, writeByte, writeVarint } from "./wire.ts";

const encodingIdentity = 1;
const digestTypeMd5 = 2;
const digestTextBytes = 32;
/** Content of the Digest: type and checksum. */
const digestBytes = 2 + 2 + digestTextBytes;
/** Of Message: a map. */
const userPropertiesField = 2;
/** User property of a copy: "<topic>/<queue id>/<offset>" of the message that it is the copy of. */
export const mirrorProperty = "x-popmesh-mirror-of";

/**
 * A stored message on its way to a consumer: the stored bytes with one new system_properties, which is the stored one
 * without the fields that only the server may set, plus those fields. Topic, properties and body are copied as they lie;
 * SDKs that do not merge a message given in pieces (google-protobuf does not) see one system_properties.
 *
 * One object is reused: set the fields, `measure` the scan of the stored message, then `write` exactly that much. The scan
 * must stay valid in between. All fields are told anew for each message.
 */
export class DeliveredMessage {
  /** "" (of messages within a Telemetry command): left out. */
  receiptHandle = "";
  queueId = 0;
  queueOffset = 0;
  /** When the broker stored the message; also its birth when the producer did not say. */
  storeMs = 0;
  /** "host:port" of the broker. */
  storeHost = "";
  /** Deliveries so far, this one included: 1 on the first. */
  deliveryAttempt = 1;
  /** The invisible time that was granted. */
  invisibleMs = 0;
  /** Where the message came from, for producers that name no host of their own. */
  bornHost = "";
  /** Origin of a message of a dead-letter queue; both "" otherwise. */
  deadLetterTopic = "";
  deadLetterMessageId = "";
  /** Place of the message that this is the copy of: told as a user property; "": it is none. */
  mirrorOf = "";

  #scan: MessageScan | undefined;
  /** Lower-case hex; written in upper case, as every SDK compares it. */
  #md5 = "";
  #systemBytes = 0;
  #deadLetterBytes = 0;
  #messageBytes = 0;

  /** Size of the ReceiveMessageResponse that `write` writes. */
  measure(scan: MessageScan): number {
    return fieldBytes(this.measureMessage(scan));
  }

  /** Size of the Message alone, as `writeMessage` writes it: what Telemetry commands carry. */
  measureMessage(scan: MessageScan): number {
    this.#scan = scan;
    this.#md5 = hash("md5", scan.bytes.subarray(scan.bodyStart, scan.bodyEnd), "hex");
    this.#deadLetterBytes = textFieldBytes(this.deadLetterTopic) + textFieldBytes(this.deadLetterMessageId);
    this.#systemBytes = scan.systemEnd - scan.systemStart - scan.serverOwnedBytes + this.#addedBytes(scan);
    const oldFieldBytes = scan.systemFieldEnd - scan.systemFieldStart;
    this.#messageBytes = scan.end - scan.start - oldFieldBytes + fieldBytes(this.#systemBytes) + this.#mirrorBytes();
    return this.#messageBytes;
  }

  /** Writes the measured ReceiveMessageResponse. */
  write(into: Buffer, at: number): number {
    return this.writeMessage(into, writeFieldHead(into, at, 2, this.#messageBytes));
  }

  /** Writes the measured Message. */
  writeMessage(into: Buffer, at: number): number {
    const scan = this.#scan;
    if (scan === undefined) throw new Error("a message must be measured before it is written");
    const bytes = scan.bytes;
    at = copyBytes(bytes, scan.start, scan.systemFieldStart, into, at);
    at = writeFieldHead(into, at, 3, this.#systemBytes);
    at = copyClientFields(scan, into, at);
    at = this.#writeAdded(scan, into, at);
    at = copyBytes(bytes, scan.systemFieldEnd, scan.end, into, at);
    if (this.mirrorOf === "") return at;
    // Behind the client's own: of properties of one name the last one counts.
    at = writeFieldHead(into, at, userPropertiesField, textFieldBytes(mirrorProperty) + textFieldBytes(this.mirrorOf));
    return writeTextField(into, writeTextField(into, at, 1, mirrorProperty), 2, this.mirrorOf);
  }

  #mirrorBytes(): number {
    if (this.mirrorOf === "") return 0;
    return fieldBytes(textFieldBytes(mirrorProperty) + textFieldBytes(this.mirrorOf));
  }

  #addedBytes(scan: MessageScan): number {
    return (
      fieldBytes(digestBytes) +
      (scan.bodyEncoding === 0 ? 2 : 0) +
      (scan.hasBornTimestamp ? 0 : fieldBytes(timeBytes(this.storeMs))) +
      (scan.bornHostStart === scan.bornHostEnd ? textFieldBytes(this.bornHost) : 0) +
      fieldBytes(timeBytes(this.storeMs)) +
      textFieldBytes(this.storeHost) +
      textFieldBytes(this.receiptHandle) +
      numberFieldBytes(this.queueId) +
      (1 + varintBytes(this.queueOffset)) +
      (this.invisibleMs === 0 ? 0 : fieldBytes(timeBytes(this.invisibleMs))) +
      (2 + varintBytes(this.deliveryAttempt)) +
      (this.#deadLetterBytes === 0 ? 0 : 1 + fieldBytes(this.#deadLetterBytes))
    );
  }

  #writeAdded(scan: MessageScan, into: Buffer, at: number): number {
    at = writeFieldHead(into, at, 4, digestBytes);
    at = writeNumberField(into, at, 1, digestTypeMd5);
    at = writeFieldHead(into, at, 2, digestTextBytes);
    at = writeUpperCase(into, at, this.#md5);
    if (scan.bodyEncoding === 0) at = writeNumberField(into, at, 5, encodingIdentity);
    if (!scan.hasBornTimestamp) at = writeTimeField(into, at, 7, this.storeMs);
    if (scan.bornHostStart === scan.bornHostEnd) at = writeTextField(into, at, 8, this.bornHost);
    at = writeTimeField(into, at, 9, this.storeMs);
    at = writeTextField(into, at, 10, this.storeHost);
    at = writeTextField(into, at, 12, this.receiptHandle);
    at = writeNumberField(into, at, 13, this.queueId);
    // Optional fields: a 0 is written too, "absent" would mean something else.
    at = writeVarint(into, writeByte(into, at, 14 << 3), this.queueOffset);
    if (this.invisibleMs !== 0) at = writeTimeField(into, at, 15, this.invisibleMs);
    at = writeVarint(into, writeVarint(into, at, 16 << 3), this.deliveryAttempt);
    if (this.#deadLetterBytes === 0) return at;
    at = writeVarint(into, at, (20 << 3) | WireType.Bytes);
    at = writeVarint(into, at, this.#deadLetterBytes);
    at = writeTextField(into, at, 1, this.deadLetterTopic);
    return writeTextField(into, at, 2, this.deadLetterMessageId);
  }
}

/** The stored system_properties without the fields that only the server may set, in runs as long as possible. */
function copyClientFields(scan: MessageScan, into: Buffer, at: number): number {
  const bytes = scan.bytes;
  const end = scan.systemEnd;
  let runStart = scan.systemStart;
  if (scan.serverOwnedBytes > 0) {
    let from = runStart;
    while (from < end) {
      const tag = readTagAgain(bytes, from, end);
      skipValue(bytes, next, end, tag);
      const to = next;
      if (isServerOwned(tag >>> 3)) {
        at = copyBytes(bytes, runStart, from, into, at);
        runStart = to;
      }
      from = to;
    }
  }
  return copyBytes(bytes, runStart, end, into, at);
}

function writeTimeField(into: Buffer, at: number, field: number, ms: number): number {
  at = writeFieldHead(into, at, field, timeBytes(ms));
  return writeTime(into, at, ms);
}

function writeUpperCase(into: Buffer, at: number, hex: string): number {
  for (let i = 0; i < hex.length; i++) {
    const unit = hex.charCodeAt(i);
    into[at + i] = unit >= 0x61 ? unit - 0x20 : unit;
  }
  return at + hex.length;
}
