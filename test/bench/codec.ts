/**
 * What hot readers and writers cost beside the general codec, in CPU per operation: `node dist/test/bench/codec.js`. Rounds
 * alternate and the median counts, so that the ratio holds on a busy machine.
 */
import { popmesh } from "#codec/popmesh-v1";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { AckMessageResponseWriter, AckMessageScan } from "../../proto/codec/ack-message.ts";
import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import {
  type DeliveryFields,
  ReceiveAnswerReader,
  SendRequestReader,
  writeDelivery,
  writeSendRequest,
} from "../../proto/codec/frame-body.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { ReceiveMessageReader } from "../../proto/codec/receive-message.ts";
import { SendMessageResponseWriter, SendMessageScan } from "../../proto/codec/send-message.ts";

const v2 = apache.rocketmq.v2;
const v1 = popmesh.v1;
const rounds = 7;
const roundMs = 60;

interface Contest {
  readonly name: string;
  hot(): void;
  general(): void;
}

const sendRequest = new GeneralCodec(v2.SendMessageRequest, "apache.rocketmq.v2.SendMessageRequest");
const receiveRequest = new GeneralCodec(v2.ReceiveMessageRequest, "apache.rocketmq.v2.ReceiveMessageRequest");
const ackRequest = new GeneralCodec(v2.AckMessageRequest, "apache.rocketmq.v2.AckMessageRequest");
const frameSend = new GeneralCodec(v1.SendRequest, "popmesh.v1.SendRequest");
const frameReceive = new GeneralCodec(v1.ReceiveAnswer, "popmesh.v1.ReceiveAnswer");

const message = {
  topic: { resourceNamespace: "default", name: "orders" },
  userProperties: {
    region: "eu",
    amount: "120",
    customer: "c-81723",
    traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
    retry: "no",
  },
  systemProperties: {
    tag: "created",
    keys: ["order-1234567"],
    messageId: "01F4D9A1B2C3D4E5F60718293A4B5C6D7E",
    bodyDigest: { type: 1, checksum: "1A2B3C4D" },
    bodyEncoding: 1,
    messageType: 1,
    bornTimestamp: { seconds: 1_790_000_000, nanos: 123_000_000 },
    bornHost: "shop-7c9d",
    queueId: 3,
  },
  body: Buffer.alloc(1024, 0x61),
};
const stored = Buffer.from(v2.Message.encode(message).finish());
const sendBytes = sendRequest.encode({ messages: [message] });
const receiveBytes = receiveRequest.encode({
  group: { resourceNamespace: "default", name: "billing" },
  messageQueue: {
    topic: { name: "orders" },
    id: -1,
    broker: { name: "broker-0", endpoints: { scheme: 1, addresses: [{ host: "127.0.0.1", port: 8081 }] } },
  },
  filterExpression: { type: 1, expression: "*" },
  batchSize: 32,
  autoRenew: true,
  longPollingTimeout: { seconds: 20 },
});
const receipt = `broker-0.${"A".repeat(96)}`;
const ackBytes = ackRequest.encode({
  group: { name: "billing" },
  topic: { name: "orders" },
  entries: [{ messageId: message.systemProperties.messageId, receiptHandle: receipt }],
});
const delivery: DeliveryFields = {
  message: stored,
  messageStart: 0,
  messageEnd: stored.length,
  receipt,
  queueId: 3,
  offset: 1_234_567,
  attempt: 1,
  storeMs: 1_790_000_000_456,
  bornHost: "10.1.2.3",
  lane: "",
  mirrorOf: "",
  deadLetter: undefined,
};
const generalDelivery = { ...delivery, message: stored, receipt: Buffer.from(receipt) };
const frameSendBytes = frameSend.encode({ topicId: 7, bornHost: "10.1.2.3", message: [stored] });
const frameReceiveBytes = frameReceive.encode({ delivery: [generalDelivery] });

const out = Buffer.alloc(64 * 1024);
const sendScan = new SendMessageScan();
const messageScan = new MessageScan();
const delivered = new DeliveredMessage();
Object.assign(delivered, {
  receiptHandle: receipt,
  queueId: 3,
  queueOffset: 1_234_567,
  storeMs: delivery.storeMs,
  storeHost: "10.0.0.1:17000",
  invisibleMs: 30_000,
});
scanMessage(stored, 0, stored.length, messageScan);
const receiveReader = new ReceiveMessageReader();
const ackScan = new AckMessageScan();
const sendWriter = new SendMessageResponseWriter();
const ackWriter = new AckMessageResponseWriter();
const frameSendReader = new SendRequestReader();
const frameReceiveReader = new ReceiveAnswerReader();

const contests: readonly Contest[] = [
  {
    name: "read SendMessageRequest",
    hot: () => sendScan.read(sendBytes, 0, sendBytes.length),
    general: () => sendRequest.decode(sendBytes),
  },
  {
    name: "write SendMessageResponse",
    hot: () => {
      sendWriter.begin(Code.Ok, "OK");
      sendWriter.addEntry(Code.Ok, "OK", stored, 0, 34, 1_234_567, "", "");
      sendWriter.copyTo(out, 0);
    },
    general: () =>
      v2.SendMessageResponse.encode({
        status: { code: 20000, message: "OK" },
        entries: [
          { status: { code: 20000, message: "OK" }, messageId: message.systemProperties.messageId, offset: 1_234_567 },
        ],
      }).finish(),
  },
  {
    name: "read ReceiveMessageRequest",
    hot: () => receiveReader.read(receiveBytes, 0, receiveBytes.length),
    general: () => receiveRequest.decode(receiveBytes),
  },
  {
    name: "write ReceiveMessageResponse (scan, MD5, splice)",
    hot: () => {
      scanMessage(stored, 0, stored.length, messageScan);
      delivered.measure(messageScan);
      delivered.write(out, 0);
    },
    general: () => {
      const decoded = v2.Message.decode(stored);
      Object.assign(decoded.systemProperties ?? {}, {
        receiptHandle: receipt,
        queueOffset: 1_234_567,
        deliveryAttempt: 1,
      });
      v2.ReceiveMessageResponse.encode({ message: decoded }).finish();
    },
  },
  {
    name: "read AckMessageRequest",
    hot: () => {
      ackScan.read(ackBytes, 0, ackBytes.length);
      ackScan.nextEntry();
    },
    general: () => ackRequest.decode(ackBytes),
  },
  {
    name: "write AckMessageResponse",
    hot: () => {
      ackWriter.begin(Code.Ok, "OK");
      ackWriter.addEntry(Code.Ok, "OK", stored, 0, 34, 34, 139);
      ackWriter.copyTo(out, 0);
    },
    general: () =>
      v2.AckMessageResponse.encode({
        status: { code: 20000, message: "OK" },
        entries: [
          {
            status: { code: 20000, message: "OK" },
            messageId: message.systemProperties.messageId,
            receiptHandle: receipt,
          },
        ],
      }).finish(),
  },
  {
    name: "frame: read SendRequest",
    hot: () => {
      frameSendReader.read(frameSendBytes, 0, frameSendBytes.length);
      frameSendReader.nextMessage();
    },
    general: () => frameSend.decode(frameSendBytes),
  },
  {
    name: "frame: write SendRequest",
    hot: () => writeSendRequest(out, 0, 7, "", "10.1.2.3", [stored]),
    general: () => frameSend.encode({ topicId: 7, bornHost: "10.1.2.3", message: [stored] }),
  },
  {
    name: "frame: read ReceiveAnswer, one delivery",
    hot: () => {
      frameReceiveReader.read(frameReceiveBytes, 0, frameReceiveBytes.length);
      frameReceiveReader.nextDelivery();
    },
    general: () => frameReceive.decode(frameReceiveBytes),
  },
  {
    name: "frame: write Delivery",
    hot: () => writeDelivery(out, 0, delivery),
    general: () => frameReceive.encode({ delivery: [generalDelivery] }),
  },
];

process.stdout.write(`message of ${stored.length} bytes; CPU per operation, median of ${rounds} rounds\n`);
for (const contest of contests) {
  const hot: number[] = [];
  const general: number[] = [];
  for (let round = 0; round < rounds; round++) {
    hot.push(costUs(contest.hot));
    general.push(costUs(contest.general));
  }
  const [hotUs, generalUs] = [median(hot), median(general)];
  process.stdout.write(
    `${contest.name.padEnd(50)} hot ${hotUs.toFixed(2).padStart(6)} µs   general ${generalUs.toFixed(2).padStart(6)} µs   ` +
      `${(generalUs / hotUs).toFixed(1)} times\n`,
  );
}

function costUs(operation: () => void): number {
  let count = 0;
  const before = process.cpuUsage();
  const endMs = performance.now() + roundMs;
  while (performance.now() < endMs) {
    for (let i = 0; i < 500; i++) operation();
    count += 500;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
