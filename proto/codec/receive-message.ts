import type { Code } from "../code.ts";
import { fieldBytes, readCachedText, readFreshText, statusBytes, writeFieldHead, writeStatusField } from "./field.ts";
import { ResourceReader } from "./resource-reader.ts";
import { TimeReader, timeBytes, writeTime } from "./time.ts";
import { beginReading, next, readBool, readInt32, readRange, readTag, skipValue, WireType } from "./wire.ts";

/**
 * A ReceiveMessageRequest; reused. Texts and numbers are the caller's to keep. Of the message queue only what a server
 * looks at is read: topic, broker name, id.
 */
export class ReceiveMessageReader {
  readonly group = new ResourceReader();
  readonly topic = new ResourceReader();
  brokerName = "";
  /** Of the message queue. -1: the whole broker. */
  queueId = 0;
  /** A number of enum FilterType, or one that this version does not know. */
  filterType = 0;
  filter = "";
  batchSize = 0;
  readonly invisibleDuration = new TimeReader();
  autoRenew = false;
  readonly longPollingTimeout = new TimeReader();
  /** "" when absent. */
  attemptId = "";

  /** Throws `MeshError` (BAD_REQUEST) when `bytes[start, end)` is no sound request. */
  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.group.clear();
    this.topic.clear();
    this.brokerName = "";
    this.queueId = 0;
    this.filterType = 0;
    this.filter = "";
    this.batchSize = 0;
    this.invisibleDuration.clear();
    this.autoRenew = false;
    this.longPollingTimeout.clear();
    this.attemptId = "";
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
          this.#readQueue(bytes, from, at);
          continue;
        }
        case (3 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.#readFilter(bytes, from, at);
          continue;
        }
        case (4 << 3) | WireType.Varint:
          this.batchSize = readInt32(bytes, next, end);
          break;
        case (5 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.invisibleDuration.merge(bytes, from, at);
          continue;
        }
        case (6 << 3) | WireType.Varint:
          this.autoRenew = readBool(bytes, next, end);
          break;
        case (7 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.longPollingTimeout.merge(bytes, from, at);
          continue;
        }
        case (8 << 3) | WireType.Bytes:
          this.attemptId = readFreshText(bytes, next, end);
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
  }

  #readQueue(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.topic.merge(bytes, from, at);
          continue;
        }
        case (2 << 3) | WireType.Varint:
          this.queueId = readInt32(bytes, next, end);
          break;
        case (4 << 3) | WireType.Bytes: {
          const from = readRange(bytes, next, end);
          at = next;
          this.#readBroker(bytes, from, at);
          continue;
        }
        default:
          skipValue(bytes, next, end, tag);
      }
      at = next;
    }
  }

  #readBroker(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) this.brokerName = readCachedText(bytes, next, end);
      else skipValue(bytes, next, end, tag);
    }
  }

  #readFilter(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Varint)) this.filterType = readInt32(bytes, next, end);
      else if (tag === ((2 << 3) | WireType.Bytes)) this.filter = readCachedText(bytes, next, end);
      else skipValue(bytes, next, end, tag);
    }
  }
}

/** Size of a ReceiveMessageResponse that carries a status. */
export function receiveStatusBytes(code: Code, message: string): number {
  return fieldBytes(statusBytes(code, message));
}

/** The first or only response of a stream. */
export function writeReceiveStatus(into: Buffer, at: number, code: Code, message: string): number {
  return writeStatusField(into, at, 1, code, message);
}

/** Size of a ReceiveMessageResponse that carries a delivery timestamp. */
export function receiveTimestampBytes(ms: number): number {
  return fieldBytes(timeBytes(ms));
}

/** The last response of a stream: when the server began to deliver, in milliseconds since 1970. */
export function writeReceiveTimestamp(into: Buffer, at: number, ms: number): number {
  at = writeFieldHead(into, at, 3, timeBytes(ms));
  return writeTime(into, at, ms);
}
