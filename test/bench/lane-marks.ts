import { apache } from "#codec/rocketmq-v2";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { LaneMarks } from "../../sidecar/lane/lane-marks.ts";
import { TraceLanes } from "../../sidecar/lane/trace-lanes.ts";
import { cpuMicros } from "../support/process-usage.ts";
import { childPid, startMesh } from "../support/start-mesh.ts";
import { generateLoad } from "./h2-generator.ts";

/**
 * What it costs the sidecar to find the lane of a message that is sent, by what the message says, beside what a whole send costs it
 * (application to sidecar to broker, 1 KiB). Rounds alternate; medians.
 *
 *     node dist/test/bench/lane-marks.js [rounds]
 */
const rounds = Number(process.argv[2] ?? 9);
const marksPerRound = 500_000;
const sendsPerRound = 10_000;
const traceId = (n: number): string => n.toString(16).padStart(32, "0");
/** Traces that the sidecar knows. */
const tracesKnown = 10_000;
const properties = { region: "eu", amount: "42" };
const traceparent = (n: number): string => `00-${traceId(n)}-00f067aa0ba902b7-01`;

interface Row {
  readonly name: string;
  readonly userProperties: (n: number) => Record<string, string>;
}
const rows: readonly Row[] = [
  { name: "no properties", userProperties: () => ({}) },
  { name: "two properties", userProperties: () => properties },
  { name: "x-popmesh-lane", userProperties: () => ({ ...properties, "x-popmesh-lane": "canary" }) },
  { name: "baggage of others", userProperties: () => ({ ...properties, baggage: "user=7,region=eu-west-1;ttl=5" }) },
  { name: "baggage with a lane", userProperties: () => ({ ...properties, baggage: "user=7,popmesh-lane=canary" }) },
  { name: "a trace that is not known", userProperties: (n) => ({ ...properties, traceparent: traceparent(n + 1e6) }) },
  { name: "a trace that is known", userProperties: (n) => ({ ...properties, traceparent: traceparent(n + 1) }) },
];

const { Message, SendMessageRequest } = apache.rocketmq.v2;

function messageOf(userProperties: Record<string, string>): apache.rocketmq.v2.IMessage {
  return {
    topic: { name: "bench" },
    userProperties,
    systemProperties: {
      tag: "created",
      keys: ["order-1"],
      messageId: "0".repeat(34),
      messageType: 1,
      bornHost: "app-1",
    },
    body: Buffer.alloc(1024, "b"),
  };
}

/** 256 messages of a row, with other traces each. */
function scansOf({ userProperties }: Row): MessageScan[][] {
  return Array.from({ length: 256 }, (_, n) => {
    const bytes = Buffer.from(Message.encode(messageOf(userProperties(n))).finish());
    const scan = new MessageScan();
    scanMessage(bytes, 0, bytes.length, scan);
    return [scan];
  });
}

const traces = new TraceLanes(new NodeClock());
for (let n = 1; n <= tracesKnown; n++) traces.learn(traceId(n), "canary");
const marks = new LaneMarks("base", traces);
const scans = rows.map(scansOf);

/** Nanoseconds of CPU per message. */
function markingNs(messages: MessageScan[][]): number {
  const from = process.cpuUsage();
  for (let i = 0; i < marksPerRound; i++) {
    if (!marks.of(messages[i & 255]!, 1).ok) throw new Error("a mark was refused");
  }
  const { user, system } = process.cpuUsage(from);
  return ((user + system) * 1_000) / marksPerRound;
}

const mesh = await startMesh();
try {
  const sidecarPid = await childPid(mesh, "sidecar");
  const port = Number(mesh.endpoint.split(":")[1]);
  const send = async (row: Row): Promise<number> => {
    const message = Buffer.from(SendMessageRequest.encode({ messages: [messageOf(row.userProperties(0))] }).finish());
    const before = cpuMicros(sidecarPid);
    const { calls, failures } = await generateLoad({
      ...{ host: "127.0.0.1", port, connections: 8, streams: 32, calls: sendsPerRound, message },
      path: "/apache.rocketmq.v2.MessagingService/SendMessage",
      headers: [["x-mq-client-id", "bench@1@0@1"]],
      requestIdHeader: "x-mq-request-id",
      patch: () => {},
    });
    if (failures.size > 0) throw new Error(`calls failed: ${JSON.stringify([...failures])}`);
    return (cpuMicros(sidecarPid) - before) / calls;
  };
  const two = rows[1]!;
  for (let i = 0; i < 3; i++) await send(two);
  for (const messages of scans) markingNs(messages);
  const ns = rows.map((): number[] => []);
  const sendUs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [i, messages] of scans.entries()) ns[i]!.push(markingNs(messages));
    sendUs.push(await send(two));
  }
  const whole = median(sendUs);
  console.log(`a whole send: ${whole.toFixed(1)} us of the sidecar's CPU, 256 in flight (${rounds} rounds)`);
  for (const [i, { name }] of rows.entries()) {
    const each = median(ns[i]!);
    console.log(`${name.padEnd(28)}${each.toFixed(0).padStart(5)} ns  ${(each / whole / 10).toFixed(2).padStart(5)} %`);
  }
} finally {
  await mesh.stop();
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
