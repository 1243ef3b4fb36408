import { popmesh } from "#codec/popmesh-v1";
import { apache, type google } from "#codec/rocketmq-v2";
import { AckMessageScan } from "../../proto/codec/ack-message.ts";
import { ChangeInvisibleDurationReader } from "../../proto/codec/change-invisible-duration.ts";
import {
  AckRequestReader,
  ChangeRequestReader,
  ReceiveAnswerReader,
  ReceiveRequestReader,
  ResultsReader,
  SendAnswerReader,
  SendRequestReader,
} from "../../proto/codec/frame-body.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { KeyCursor, MessageScan, PropertyCursor, scanMessage } from "../../proto/codec/message-scan.ts";
import { ReceiveMessageReader } from "../../proto/codec/receive-message.ts";
import type { ResourceReader } from "../../proto/codec/resource-reader.ts";
import { SendMessageScan } from "../../proto/codec/send-message.ts";
import type { TimeReader } from "../../proto/codec/time.ts";

/**
 * Every hot reader beside the general codec: both tell what a message says as the same plain value, or throw a MeshError.
 */
export interface CodecPair {
  readonly typeName: string;
  /** True: there are parts of the message that the hot reader does not look into, and so accepts when they are broken. */
  readonly isLazy: boolean;
  hot(bytes: Buffer, start: number, end: number): unknown;
  general(bytes: Buffer): unknown;
}

const v2 = apache.rocketmq.v2;
const v1 = popmesh.v1;

export const codecPairs: readonly CodecPair[] = [
  messagePair(),
  sendMessagePair(),
  receiveMessagePair(),
  ackMessagePair(),
  changePair(),
  sendRequestPair(),
  sendAnswerPair(),
  receiveRequestPair(),
  receiveAnswerPair(),
  ackRequestPair(),
  ackAnswerPair(),
  changeRequestPair(),
  changeAnswerPair(),
];

function messagePair(): CodecPair {
  const codec = new GeneralCodec(v2.Message, "apache.rocketmq.v2.Message");
  const scan = new MessageScan();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      scanMessage(bytes, start, end, scan);
      return scannedMessage(scan);
    },
    general: (bytes) => generalMessage(codec.decode(bytes)),
  };
}

function sendMessagePair(): CodecPair {
  const codec = new GeneralCodec(v2.SendMessageRequest, "apache.rocketmq.v2.SendMessageRequest");
  const scan = new SendMessageScan();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      scan.read(bytes, start, end);
      return scan.messages.slice(0, scan.messageCount).map(scannedMessage);
    },
    general: (bytes) => codec.decode(bytes).messages.map(generalMessage),
  };
}

/** All that a scan says. */
export function scannedMessage(scan: MessageScan): unknown {
  const text = (start: number, end: number) => (start < 0 ? null : scan.text(start, end));
  const keys: string[] = [];
  const keyCursor = new KeyCursor();
  for (keyCursor.begin(scan); keyCursor.next(); ) keys.push(scan.text(keyCursor.keyStart, keyCursor.keyEnd));
  const properties = new Map<string, string>();
  let propertyCount = 0;
  let propertyBytes = 0;
  const cursor = new PropertyCursor();
  for (cursor.begin(scan); cursor.next(); propertyCount++) {
    const key = scan.text(cursor.keyStart, cursor.keyEnd);
    properties.set(key, scan.text(cursor.valueStart, cursor.valueEnd));
    propertyBytes += cursor.keyEnd - cursor.keyStart + cursor.valueEnd - cursor.valueStart;
  }
  if (propertyCount !== scan.propertyCount) throw new Error("the cursor saw other properties than the scan counted");
  if (propertyBytes !== scan.propertyBytes) throw new Error("the cursor saw other sizes than the scan summed up");
  if (keys.length !== scan.keyCount) throw new Error("the cursor saw other keys than the scan counted");
  return {
    namespace: scan.text(scan.namespaceStart, scan.namespaceEnd),
    topic: scan.text(scan.topicStart, scan.topicEnd),
    properties: sorted([...properties]),
    body: scan.bytes.toString("hex", scan.bodyStart, scan.bodyEnd),
    messageId: scan.text(scan.messageIdStart, scan.messageIdEnd),
    tag: text(scan.tagStart, scan.tagEnd),
    keys,
    messageGroup: text(scan.messageGroupStart, scan.messageGroupEnd),
    liteTopic: text(scan.liteTopicStart, scan.liteTopicEnd),
    traceContext: text(scan.traceContextStart, scan.traceContextEnd),
    bornHost: scan.text(scan.bornHostStart, scan.bornHostEnd),
    bornMs: scan.hasBornTimestamp ? scan.bornMs : null,
    deliveryMs: scan.hasDeliveryTimestamp ? scan.deliveryMs : null,
    recoveryMs: scan.hasRecoveryDuration ? scan.recoveryMs : null,
    messageType: scan.messageType,
    bodyEncoding: scan.bodyEncoding,
    hasBodyDigest: scan.hasBodyDigest,
    priority: scan.hasPriority ? scan.priority : null,
    queueId: scan.queueId,
  };
}

function generalMessage(message: apache.rocketmq.v2.Message): unknown {
  const system = message.systemProperties ?? new v2.SystemProperties();
  return {
    namespace: message.topic?.resourceNamespace ?? "",
    topic: message.topic?.name ?? "",
    properties: sorted(Object.entries(message.userProperties)),
    body: Buffer.from(message.body).toString("hex"),
    messageId: system.messageId,
    tag: system.tag,
    keys: system.keys,
    messageGroup: system.messageGroup,
    liteTopic: system.liteTopic,
    traceContext: system.traceContext,
    bornHost: system.bornHost,
    bornMs: ms(system.bornTimestamp),
    deliveryMs: ms(system.deliveryTimestamp, Math.ceil),
    recoveryMs: ms(system.orphanedTransactionRecoveryDuration),
    messageType: system.messageType,
    bodyEncoding: system.bodyEncoding,
    hasBodyDigest: system.bodyDigest !== null,
    priority: system.priority,
    queueId: system.queueId,
  };
}

function receiveMessagePair(): CodecPair {
  const codec = new GeneralCodec(v2.ReceiveMessageRequest, "apache.rocketmq.v2.ReceiveMessageRequest");
  const reader = new ReceiveMessageReader();
  return {
    typeName: codec.typeName,
    isLazy: true,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      return {
        group: readResource(reader.group),
        topic: readResource(reader.topic),
        brokerName: reader.brokerName,
        queueId: reader.queueId,
        filterType: reader.filterType,
        filter: reader.filter,
        batchSize: reader.batchSize,
        invisibleMs: readTime(reader.invisibleDuration),
        autoRenew: reader.autoRenew,
        longPollingMs: readTime(reader.longPollingTimeout),
        attemptId: reader.attemptId,
      };
    },
    general: (bytes) => {
      const request = codec.decode(bytes);
      return {
        group: resource(request.group),
        topic: resource(request.messageQueue?.topic),
        brokerName: request.messageQueue?.broker?.name ?? "",
        queueId: request.messageQueue?.id ?? 0,
        filterType: request.filterExpression?.type ?? 0,
        filter: request.filterExpression?.expression ?? "",
        batchSize: request.batchSize,
        invisibleMs: ms(request.invisibleDuration),
        autoRenew: request.autoRenew,
        longPollingMs: ms(request.longPollingTimeout),
        attemptId: request.attemptId ?? "",
      };
    },
  };
}

function ackMessagePair(): CodecPair {
  const codec = new GeneralCodec(v2.AckMessageRequest, "apache.rocketmq.v2.AckMessageRequest");
  const scan = new AckMessageScan();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      scan.read(bytes, start, end);
      const entries: unknown[] = [];
      while (scan.nextEntry()) {
        entries.push([
          bytes.toString("utf8", scan.messageIdStart, scan.messageIdEnd),
          bytes.toString("utf8", scan.receiptHandleStart, scan.receiptHandleEnd),
          bytes.toString("utf8", scan.liteTopicStart, scan.liteTopicEnd),
        ]);
      }
      if (entries.length !== scan.entryCount) throw new Error("the cursor saw other entries than were counted");
      return { group: readResource(scan.group), topic: readResource(scan.topic), entries };
    },
    general: (bytes) => {
      const request = codec.decode(bytes);
      return {
        group: resource(request.group),
        topic: resource(request.topic),
        entries: request.entries.map((entry) => [entry.messageId, entry.receiptHandle, entry.liteTopic ?? ""]),
      };
    },
  };
}

function changePair(): CodecPair {
  const codec = new GeneralCodec(
    v2.ChangeInvisibleDurationRequest,
    "apache.rocketmq.v2.ChangeInvisibleDurationRequest",
  );
  const reader = new ChangeInvisibleDurationReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      return {
        group: readResource(reader.group),
        topic: readResource(reader.topic),
        receiptHandle: reader.receiptHandle,
        invisibleMs: readTime(reader.invisibleDuration),
        messageId: reader.messageId,
        liteTopic: reader.liteTopic,
        suspend: reader.suspend,
      };
    },
    general: (bytes) => {
      const request = codec.decode(bytes);
      return {
        group: resource(request.group),
        topic: resource(request.topic),
        receiptHandle: request.receiptHandle,
        invisibleMs: ms(request.invisibleDuration),
        messageId: request.messageId,
        liteTopic: request.liteTopic ?? "",
        suspend: request.suspend ?? false,
      };
    },
  };
}

function sendRequestPair(): CodecPair {
  const codec = new GeneralCodec(v1.SendRequest, "popmesh.v1.SendRequest");
  const reader = new SendRequestReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      const messages: string[] = [];
      while (reader.nextMessage()) messages.push(bytes.toString("hex", reader.messageStart, reader.messageEnd));
      if (messages.length !== reader.messageCount) throw new Error("the cursor saw other messages than were counted");
      if (messages.join("").length !== 2 * reader.messageBytes) throw new Error("messageBytes is not the sum");
      const { topicId, laneMark, bornHost, groupSpread, isEarlierHome } = reader;
      return { topicId, laneMark, bornHost, messages, groupSpread, isEarlierHome };
    },
    general: (bytes) => {
      const { topicId, laneMark, bornHost, message, groupSpread, earlierHome } = codec.decode(bytes);
      return { topicId, laneMark, bornHost, messages: message.map(hex), groupSpread, isEarlierHome: earlierHome };
    },
  };
}

function sendAnswerPair(): CodecPair {
  const codec = new GeneralCodec(v1.SendAnswer, "popmesh.v1.SendAnswer");
  const reader = new SendAnswerReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      return { ...reader };
    },
    general: (bytes) => {
      const { queueId, firstOffset, storeMs, transactionId, recallHandle: recallHandles } = codec.decode(bytes);
      return { queueId, firstOffset, storeMs, transactionId, recallHandles };
    },
  };
}

function receiveRequestPair(): CodecPair {
  const codec = new GeneralCodec(v1.ReceiveRequest, "popmesh.v1.ReceiveRequest");
  const reader = new ReceiveRequestReader();
  const fields = Object.keys(new ReceiveRequestReader()) as (keyof popmesh.v1.IReceiveRequest)[];
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      return { ...reader };
    },
    general: (bytes) => {
      const request = codec.decode(bytes);
      return Object.fromEntries(fields.map((field) => [field, request[field]]));
    },
  };
}

function receiveAnswerPair(): CodecPair {
  const codec = new GeneralCodec(v1.ReceiveAnswer, "popmesh.v1.ReceiveAnswer");
  const reader = new ReceiveAnswerReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      const deliveries: unknown[] = [];
      while (reader.nextDelivery()) {
        deliveries.push({
          message: bytes.toString("hex", reader.messageStart, reader.messageEnd),
          receipt: bytes.toString("hex", reader.receiptStart, reader.receiptEnd),
          queueId: reader.queueId,
          offset: reader.offset,
          attempt: reader.attempt,
          storeMs: reader.storeMs,
          bornHost: reader.bornHost,
          lane: reader.lane,
          deadLetter: reader.hasDeadLetter ? { ...reader.origin } : null,
        });
      }
      if (deliveries.length !== reader.deliveryCount) throw new Error("the cursor saw other deliveries than counted");
      return deliveries;
    },
    general: (bytes) =>
      codec.decode(bytes).delivery.map((delivery) => ({
        message: hex(delivery.message),
        receipt: hex(delivery.receipt),
        queueId: delivery.queueId,
        offset: delivery.offset,
        attempt: delivery.attempt,
        storeMs: delivery.storeMs,
        bornHost: delivery.bornHost,
        lane: delivery.lane,
        deadLetter: delivery.deadLetter === null ? null : origin(delivery.deadLetter),
      })),
  };
}

function origin(from: popmesh.v1.DeadLetterOrigin): unknown {
  const { topic, messageId, queueId, offset, attempts, reason, lastHolder, deadMs } = from;
  return { topic, messageId, queueId, offset, attempts, reason, lastHolder, deadMs };
}

function ackRequestPair(): CodecPair {
  const codec = new GeneralCodec(v1.AckRequest, "popmesh.v1.AckRequest");
  const reader = new AckRequestReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      const receipts: string[] = [];
      while (reader.nextReceipt()) receipts.push(bytes.toString("hex", reader.receiptStart, reader.receiptEnd));
      if (receipts.length !== reader.receiptCount) throw new Error("the cursor saw other receipts than were counted");
      return { groupId: reader.groupId, receipts };
    },
    general: (bytes) => {
      const { groupId, receipt } = codec.decode(bytes);
      return { groupId, receipts: receipt.map(hex) };
    },
  };
}

function ackAnswerPair(): CodecPair {
  const codec = new GeneralCodec(v1.AckAnswer, "popmesh.v1.AckAnswer");
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => readResults(bytes, start, end, false),
    general: (bytes) => codec.decode(bytes).result.map(({ code, message }) => ({ code, message })),
  };
}

function changeAnswerPair(): CodecPair {
  const codec = new GeneralCodec(v1.ChangeAnswer, "popmesh.v1.ChangeAnswer");
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => readResults(bytes, start, end, true),
    general: (bytes) =>
      codec.decode(bytes).result.map(({ code, message, receipt }) => ({ code, message, receipt: hex(receipt) })),
  };
}

const results = new ResultsReader();

function readResults(bytes: Buffer, start: number, end: number, withReceipt: boolean): unknown {
  results.read(bytes, start, end);
  const found: unknown[] = [];
  while (results.nextResult()) {
    const { code, message } = results;
    const receipt = bytes.toString("hex", results.receiptStart, results.receiptEnd);
    found.push(withReceipt ? { code, message, receipt } : { code, message });
  }
  if (found.length !== results.resultCount) throw new Error("the cursor saw other results than were counted");
  return found;
}

function changeRequestPair(): CodecPair {
  const codec = new GeneralCodec(v1.ChangeRequest, "popmesh.v1.ChangeRequest");
  const reader = new ChangeRequestReader();
  return {
    typeName: codec.typeName,
    isLazy: false,
    hot: (bytes, start, end) => {
      reader.read(bytes, start, end);
      const changes: unknown[] = [];
      while (reader.nextChange()) {
        const { kind, invisibleMs } = reader;
        changes.push({ receipt: bytes.toString("hex", reader.receiptStart, reader.receiptEnd), kind, invisibleMs });
      }
      if (changes.length !== reader.changeCount) throw new Error("the cursor saw other changes than were counted");
      return { groupId: reader.groupId, changes };
    },
    general: (bytes) => {
      const request = codec.decode(bytes);
      const changes = request.change.map(({ receipt, kind, invisibleMs }) => ({
        receipt: hex(receipt),
        kind,
        invisibleMs,
      }));
      return { groupId: request.groupId, changes };
    },
  };
}

function readResource(reader: ResourceReader): unknown {
  return { namespace: reader.namespace, name: reader.name };
}

function resource(from: apache.rocketmq.v2.Resource | null | undefined): unknown {
  return { namespace: from?.resourceNamespace ?? "", name: from?.name ?? "" };
}

function readTime(time: TimeReader): number | null {
  return time.isPresent ? time.ms : null;
}

function ms(time: google.protobuf.Timestamp | null, round = Math.floor): number | null {
  return time === null ? null : time.seconds * 1000 + round(time.nanos / 1e6);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

function sorted(entries: [string, string][]): [string, string][] {
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}
