import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConsumeResult, Producer, PushConsumer } from "rocketmq-client-nodejs";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { release } from "../../proto/runtime/release.ts";
import { LastKnownGood } from "../../sidecar/xds/last-known-good.ts";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";
import { type PackedTree, packTree } from "./packed-tree.ts";

/** What the other two processes keep on disk, and an exported topic, as a release has left them. */
export interface GoldenMesh {
  readonly release: string;
  readonly controlPlane: PackedTree;
  /** As the HTTP API lists it. */
  readonly declared: Declared;
  readonly sidecar: PackedTree;
  /** Its last good configuration. */
  readonly resources: readonly SavedName[];
  readonly exported: PackedTree;
  readonly exportDigest: string;
}

/** Release 0.1.0 had no rules and limits. */
export type Declared = Readonly<Record<"topics" | "groups" | "namespaces", unknown>> & {
  readonly laneRules?: unknown;
  readonly rateLimits?: unknown;
};

export interface SavedName {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
}

const manifest = `
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: orders }
spec: { type: fifo, queues: 3 }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: alarms }
spec: { type: delay, queues: 2 }
---
apiVersion: popmesh.io/v1
kind: ConsumerGroup
metadata: { name: billing }
spec:
  attemptsMax: 7
  backoff: { list: [1s, 5s, 30s] }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: shadow-alarms }
---
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: alarms-watch }
spec:
  topic: alarms
  rules: [{ to: base }]
  mirror: { topic: shadow-alarms, percent: 50 }
---
apiVersion: popmesh.io/v1
kind: RateLimit
metadata: { name: nightly }
spec:
  client: "nightly-*"
  direction: send
  messagesPerSecond: 500
  bytesPerSecond: 1MiB
  burst: 2s
`;

/** A rule with every kind of condition; the second version is in force. */
const laneRule = (percent: number) => `
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: orders-canary }
spec:
  topic: orders
  group: billing
  rules:
    - { when: { lane: canary, tag: "even || odd", properties: { region: eu } }, to: canary }
    - { when: { sql: "amount > 15 AND region NOT IN ('eu', 'us')" }, to: blue }
    - { percent: ${percent}, to: canary }
  whenEmpty: { action: spill, after: 500ms }
  withdrawn: [blue]
`;

/** A mesh as a user has it, in which something was declared, sent, received and exported. */
export async function makeGoldenMesh(): Promise<GoldenMesh> {
  const mesh = await startMesh();
  const scratch = mkdtempSync(join(tmpdir(), "popmesh-golden-"));
  try {
    const file = join(scratch, "manifest.yaml");
    writeFileSync(file, manifest);
    await popmesh(mesh, "apply", "-f", file);
    for (const percent of [1, 5]) {
      writeFileSync(file, laneRule(percent));
      await popmesh(mesh, "apply", "-f", file);
    }
    const producer = new Producer({
      ...{ endpoints: mesh.endpoint, namespace: "", topics: ["orders", "alarms"], logger: quietLogger },
    });
    await producer.startup();
    for (let i = 0; i < 20; i++) {
      const properties = new Map([["amount", String(i)]]);
      const body = Buffer.from(Array.from({ length: 64 }, (_, at) => (i * 7 + at) & 0xff));
      const parts = { messageGroup: `customer-${i % 4}`, tag: i % 2 === 0 ? "even" : "odd", keys: [`order-${i}`] };
      await producer.send({ topic: "orders", ...parts, properties, body });
    }
    await producer.send({ topic: "alarms", body: Buffer.from("later"), deliveryTimestamp: new Date(Date.now() + 3e8) });
    await producer.shutdown();
    let seen = 0;
    const consumer = new PushConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", consumerGroup: "billing", logger: quietLogger },
      subscriptions: new Map([["orders", "*"]]),
      messageListener: {
        consume: async () => {
          seen++;
          return ConsumeResult.SUCCESS;
        },
      },
    });
    await consumer.startup();
    await waitUntil("the consumer sees a message", () => seen > 0, 20_000);
    await consumer.shutdown();
    const exportDirectory = join(scratch, "export");
    const out = await popmesh(mesh, "topic", "export", "orders", "--to", exportDirectory);
    const exportDigest = /digest ([0-9a-f]{64})/.exec(out)?.[1] ?? assert.fail(out);
    const declared = await declaredIn(mesh);
    const exported = packTree(exportDirectory);
    await mesh.up.stop("SIGINT");
    const kept = (part: string, pattern: RegExp): PackedTree =>
      Object.fromEntries(
        Object.entries(packTree(join(mesh.dataDirectory, part))).filter(([path]) => pattern.test(path)),
      );
    return {
      release,
      controlPlane: kept("control-plane", /^(store\/data\.mdb|last-count\.json)$/),
      declared,
      sidecar: kept("sidecar", /^lkg\./),
      resources: await savedResources(join(mesh.dataDirectory, "sidecar")),
      exported,
      exportDigest,
    };
  } finally {
    await mesh.stop();
    rmSync(scratch, { recursive: true, force: true });
    rmSync(mesh.dataDirectory, { recursive: true, force: true });
  }
}

/** What its output is. Fails when the command does. */
export function popmesh(mesh: Mesh, ...argv: string[]): Promise<string> {
  return commandOutput(`http://${mesh.api}`, argv);
}

export async function declaredIn(mesh: Mesh): Promise<Declared> {
  const list = async (kind: string): Promise<unknown> => JSON.parse(await popmesh(mesh, "get", kind, "-o", "json"));
  // How they stand at the brokers, which may be others, is not said by the store.
  const specs = async (kind: string): Promise<unknown> =>
    ((await list(kind)) as { metadata: unknown; spec: unknown }[]).map(({ metadata, spec }) => ({ metadata, spec }));
  return {
    ...{ topics: await list("topics"), groups: await list("groups"), namespaces: await list("namespaces") },
    ...{ laneRules: await specs("lanerules"), rateLimits: await specs("ratelimits") },
  };
}

export async function savedResources(directory: string): Promise<SavedName[]> {
  const resources = await new LastKnownGood(directory, new NodeClock(), silentLog).load();
  return resources
    .map(({ typeUrl, name, version, bytes }) => {
      return { typeUrl, name, version, digest: createHash("sha256").update(bytes).digest("hex") };
    })
    .sort((a, b) => `${a.typeUrl} ${a.name}`.localeCompare(`${b.typeUrl} ${b.name}`));
}
