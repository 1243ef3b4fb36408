import { once } from "node:events";
import { parseArgs } from "node:util";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { request } from "undici";
import { popmesh } from "#codec/popmesh-v1";
import { ResourceType } from "../../control-plane/snapshot/resource-type.ts";
import { ControlPlaneProcess } from "../support/control-plane-process.ts";
import { cpuMicros, residentMiB } from "../support/process-usage.ts";
import { topicManifest, unary } from "../support/start-control-plane.ts";
import { type FanOutFigures, FanOutSidecar, type PushFigures, simulateFanOut, Tally } from "../support/xds-fan-out.ts";

/**
 * What many sidecars cost the control plane, and how soon a change is everywhere: all of them on the real discovery server over a
 * transport in memory, then some over real gRPC streams, a connection each, to a control plane process. By `npm run bench:xds`.
 *
 *     node --expose-gc dist/test/bench/xds-fan-out.js [--sidecars 10000] [--topics 10000] [--streams 2000] [--json]
 */
const { values } = parseArgs({
  options: {
    sidecars: { type: "string", default: "10000" },
    topics: { type: "string", default: "10000" },
    streams: { type: "string", default: "2000" },
    json: { type: "boolean", default: false },
  },
});
const topics = Number(values.topics);
const topicsPerSidecar = 20;
/** As many broker groups as twenty topics on three of a hundred groups refer to. */
const brokersReached = 46;
const topicsPerApply = 2_500;
const connectAtOnce = 50;

const simulated = await simulateFanOut({
  ...{ sidecars: Number(values.sidecars), topics, brokers: 100, brokersPerTopic: 3, topicsPerSidecar, seed: 7 },
});
const streams = Number(values.streams);
const real = streams === 0 ? undefined : await measureStreams(streams);
if (values.json) process.stdout.write(`${JSON.stringify({ simulated, real })}\n`);
else print(simulated, real);
process.exit(0);

interface RealFigures {
  readonly connectMs: number;
  /** Of the first half, for which the heap takes room to work in, and of the second. */
  readonly bytesPerStream: readonly [number, number];
  readonly rule: PushFigures;
  readonly flap: PushFigures;
  readonly cpuMsPerRule: number;
}

/** Bytes count from here: the process of the clients is this one, that of the server is its own. */
async function measureStreams(count: number): Promise<RealFigures> {
  const plane = await ControlPlaneProcess.create();
  const clients: Client[] = [];
  try {
    const running = await plane.start("--broker-lease", "1h").then(() => plane.pid);
    for (let i = 0; i < brokersReached; i++) await register(plane, i, false);
    const headers = { "x-popmesh-client": "bench" };
    const apply = async (documents: object[]) => {
      const body = documents.map((one) => JSON.stringify(one)).join("\n---\n");
      const answer = await request(`${plane.server}/v1/apply`, { method: "POST", headers, body });
      if (answer.statusCode !== 200) throw new Error(await answer.body.text());
      await answer.body.dump();
    };
    for (let first = 0; first < topics; first += topicsPerApply) {
      const names = Array.from({ length: Math.min(topicsPerApply, topics - first) }, (_, i) => `topic-${first + i}`);
      await apply(names.map((name) => topicManifest(name)));
    }
    const tally = new Tally();
    const connect = async (index: number): Promise<void> => {
      const client = new Client(`127.0.0.1:${plane.xdsPort}`, credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      clients.push(client);
      const same = (bytes: Buffer) => bytes;
      const path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
      const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(path, same, same);
      const sidecar = new FanOutSidecar(tally, (bytes) => stream.write(bytes));
      stream.on("data", (bytes: Buffer) => sidecar.receive(bytes)).on("error", () => {});
      const first = once(stream, "data");
      const used = Array.from({ length: topicsPerSidecar }, (_, i) => (index * topicsPerSidecar + i) % topics);
      sidecar.start(
        `stream-${index}`,
        used.map((topic) => `default/topic-${topic}`),
      );
      await first;
    };
    const settled = async () => {
      let before = -1;
      while (before !== tally.responses) {
        before = tally.responses;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    };
    // What serving at all takes is there before the streams that are counted.
    for (let i = 0; i < 20; i++) await connect(i);
    await settled();
    const startMs = performance.now();
    const half = Math.ceil(count / 2);
    /** How much the process grew for each of so many more streams. */
    const connectMore = async (): Promise<number> => {
      const residentBefore = residentMiB(running);
      for (let done = 0; done < half; done += connectAtOnce) {
        const first = clients.length;
        const more = Math.min(connectAtOnce, half - done);
        await Promise.all(Array.from({ length: more }, (_, i) => connect(first + i)));
      }
      await settled();
      return ((residentMiB(running) - residentBefore) * 1024 * 1024) / half;
    };
    const bytesPerStream = [await connectMore(), await connectMore()] as const;
    const connectMs = performance.now() - startMs;

    const push = async (typeUrl: string, name: string, change: () => Promise<void>): Promise<PushFigures> => {
      await settled();
      tally.clear();
      const all = tally.seen(typeUrl, name, clients.length);
      const startedMs = performance.now();
      await change();
      await all;
      const lastMs = performance.now() - startedMs;
      return { receivers: clients.length, responses: tally.responses, bytes: tally.bytes, lastMs };
    };
    const rule = (autoCreateTopics: boolean) =>
      push(ResourceType.NamespacePolicy, "default", () =>
        apply([
          {
            apiVersion: "popmesh.io/v1",
            kind: "Namespace",
            metadata: { name: "default" },
            spec: { autoCreateTopics },
          },
        ]),
      );
    await rule(true);
    const cpuBefore = cpuMicros(running);
    const ruleFigures = await rule(false);
    await settled();
    const cpuMsPerRule = (cpuMicros(running) - cpuBefore) / 1_000;
    const flap = await push(ResourceType.Endpoints, "bg/broker-0", () => register(plane, 0, true));
    return { connectMs, bytesPerStream, rule: ruleFigures, flap, cpuMsPerRule };
  } finally {
    for (const client of clients) client.close();
    await plane.remove();
  }
}

async function register(plane: ControlPlaneProcess, index: number, draining: boolean): Promise<void> {
  const client = new Client(`127.0.0.1:${plane.xdsPort}`, credentials.createInsecure());
  const body = popmesh.v1.RegisterBrokerRequest.encode({
    ...{ brokerName: `broker-${index}`, host: "127.0.0.1", port: 17_000, runId: 1, writable: true, draining },
  }).finish();
  await unary(client, "/popmesh.v1.Registry/RegisterBroker", body, (bytes) => bytes);
  client.close();
}

function print(memory: FanOutFigures, wire: RealFigures | undefined): void {
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  const pushed = (what: string, { receivers, responses, bytes, lastMs }: PushFigures) =>
    `  ${what}: ${receivers} receivers, ${responses} responses, ${bytes} bytes (${(bytes / receivers).toFixed(0)} each), last one decoded after ${lastMs.toFixed(0)} ms`;
  const lines = [
    `${values.sidecars} sidecars x ${topics} topics in memory: the real server and its streams, encoded messages, one thread for all`,
    `  state per sidecar: ${kib(memory.bytesPerSidecar)} for ${memory.heldPerSidecar.toFixed(0)} names`,
    `  cold start of all: ${memory.coldStartMs.toFixed(0)} ms, ${(memory.coldStartBytesDown / 1e6).toFixed(0)} MB down`,
    pushed("a rule of all", memory.rule),
    pushed("a topic", memory.topic),
    pushed("an endpoint flaps", memory.flap),
  ];
  if (wire !== undefined) {
    lines.push(
      `${wire.rule.receivers} real gRPC streams, a connection each, to a control plane process with ${topics} topics`,
      `  resident memory per stream: ${kib(wire.bytesPerStream[0])} in the first half, ${kib(wire.bytesPerStream[1])} in the second, for ${topicsPerSidecar + 2 + 2 * brokersReached} names`,
      `  connected and settled after ${wire.connectMs.toFixed(0)} ms`,
      `${pushed("a rule of all, from its POST", wire.rule)}; ${wire.cpuMsPerRule.toFixed(0)} ms CPU of the control plane`,
      pushed("an endpoint flaps, from its registration", wire.flap),
    );
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}
