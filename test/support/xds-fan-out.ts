import { envoy } from "#codec/xds-v3";
import { consumerGroupDefaults } from "../../control-plane/resource/consumer-group.ts";
import { topicDefaults } from "../../control-plane/resource/topic.ts";
import { buildListener, buildRouteConfiguration } from "../../control-plane/snapshot/build-client-resource.ts";
import {
  buildCluster,
  buildEndpoints,
  buildGroupPolicy,
  buildNamespacePolicy,
  buildTopicRoute,
} from "../../control-plane/snapshot/build-resource.ts";
import { ResourceTable } from "../../control-plane/snapshot/resource-table.ts";
import { ResourceType } from "../../control-plane/snapshot/resource-type.ts";
import { AdsServer } from "../../control-plane/xds/ads-server.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { MetricRegistry } from "../../proto/runtime/metric.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";

const { DeltaDiscoveryRequest, DeltaDiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
const { Cluster, Endpoints, GroupPolicy, NamespacePolicy, TopicRoute } = ResourceType;

/** How large a mesh is simulated. */
export interface FanOutSize {
  readonly sidecars: number;
  readonly topics: number;
  readonly brokers: number;
  /** Broker groups that hold a topic. */
  readonly brokersPerTopic: number;
  readonly topicsPerSidecar: number;
  readonly seed: number;
}

/** What went over the wire to all sidecars together. */
export class Tally {
  responses = 0;
  bytes = 0;
  bytesUp = 0;
  #awaited: { readonly typeUrl: string; readonly name: string; count: number; readonly done: () => void } | undefined;

  clear(): void {
    this.responses = 0;
    this.bytes = 0;
    this.bytesUp = 0;
  }

  /** Resolves when `count` responses have brought the resource. */
  seen(typeUrl: string, name: string, count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited = { typeUrl, name, count, done: resolve };
    });
  }

  note(typeUrl: string, resources: readonly { readonly name: string }[]): void {
    const awaited = this.#awaited;
    if (awaited === undefined || awaited.typeUrl !== typeUrl) return;
    if (!resources.some(({ name }) => name === awaited.name)) return;
    if (--awaited.count > 0) return;
    this.#awaited = undefined;
    awaited.done();
  }
}

/** The protocol side of one sidecar, as the real one speaks, with the least memory that a client can do with. */
export class FanOutSidecar {
  readonly #tally: Tally;
  readonly #send: (bytes: Buffer) => void;
  #isNamed = false;

  constructor(tally: Tally, send: (bytes: Buffer) => void) {
    this.#tally = tally;
    this.#send = send;
  }

  start(id: string, topics: readonly string[]): void {
    this.#write({
      node: { id, cluster: "base", userAgentName: "popmesh-sidecar", clientFeatures: ["popmesh.prefetch"] },
      ...{ typeUrl: NamespacePolicy, resourceNamesSubscribe: ["default"] },
    });
    this.#write({ typeUrl: GroupPolicy, resourceNamesSubscribe: ["default/group"] });
    this.#write({ typeUrl: TopicRoute, resourceNamesSubscribe: [...topics] });
  }

  receive(bytes: Uint8Array): void {
    const { typeUrl, nonce, resources } = DeltaDiscoveryResponse.decode(bytes);
    this.#tally.responses++;
    this.#tally.bytes += bytes.length;
    const ack: Request = { typeUrl, responseNonce: nonce };
    // What came ahead of the topics is taken into the subscriptions, as the sidecar does.
    if (typeUrl === Cluster && !this.#isNamed) {
      this.#isNamed = true;
      const names = resources.map(({ name }) => name);
      this.#write({ ...ack, resourceNamesSubscribe: names });
      this.#write({ typeUrl: Endpoints, resourceNamesSubscribe: names });
    } else {
      this.#write(ack);
    }
    this.#tally.note(typeUrl, resources);
  }

  #write(request: Request): void {
    const bytes = DeltaDiscoveryRequest.encode(request).finish();
    this.#tally.bytesUp += bytes.length;
    this.#send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
}

/** Which topics each sidecar uses, and which brokers hold a topic: by the seed. */
export class FanOutMesh {
  readonly size: FanOutSize;
  readonly topicNames: readonly string[];
  readonly #placements: readonly (readonly string[])[];
  readonly usedBy: readonly (readonly number[])[];

  constructor(size: FanOutSize) {
    this.size = size;
    const randomness = new SeededRandomness(size.seed);
    const some = (count: number, of: number) => {
      const chosen = new Set<number>();
      while (chosen.size < Math.min(count, of)) chosen.add(Math.floor(randomness.fraction() * of));
      return [...chosen];
    };
    this.topicNames = Array.from({ length: size.topics }, (_, i) => `orders-of-region-${i}`);
    this.#placements = this.topicNames.map(() => some(size.brokersPerTopic, size.brokers).map(brokerName));
    this.usedBy = Array.from({ length: size.sidecars }, () => some(size.topicsPerSidecar, size.topics));
  }

  topicsOf(sidecar: number): string[] {
    return (this.usedBy[sidecar] ?? []).map((topic) => `default/${this.topicNames[topic]}`);
  }

  /** How many sidecars use a topic, or a broker through their topics. */
  usersOfTopic(topic: number): number {
    return this.usedBy.filter((topics) => topics.includes(topic)).length;
  }

  usersOfBroker(broker: string): number {
    return this.usedBy.filter((topics) => topics.some((topic) => this.#placements[topic]?.includes(broker))).length;
  }

  fill(table: ResourceTable): void {
    for (let i = 0; i < this.size.brokers; i++) {
      table.put(buildCluster(brokerName(i)));
      table.put(buildListener(brokerName(i)));
      table.put(buildRouteConfiguration(brokerName(i)));
      this.putBroker(table, brokerName(i), true);
    }
    this.putNamespace(table, false);
    const made = { namespace: "default", generation: 1, createdMs: 0, createdBy: "bench" };
    table.put(buildGroupPolicy({ ...consumerGroupDefaults, ...made, name: "group" }, []));
    for (let i = 0; i < this.size.topics; i++) this.putTopic(table, i, topicDefaults.queues);
  }

  putTopic(table: ResourceTable, topic: number, queues: number): void {
    const made = { namespace: "default", incarnation: 1, generation: 1, createdMs: 0, createdBy: "bench" };
    const placement = this.#placements[topic] ?? [];
    table.put(
      buildTopicRoute({ ...topicDefaults, ...made, name: this.topicNames[topic] ?? "", placement, queues }, [], 0),
    );
  }

  putBroker(table: ResourceTable, name: string, isAlive: boolean): void {
    const said = { name, host: "10.0.0.1", port: 17_000, runId: 1, writable: true };
    const broker = { ...said, replacedRunIds: [], state: "serving" as const, firstSeenMs: 0 };
    table.put(buildEndpoints(broker, isAlive));
  }

  putNamespace(table: ResourceTable, autoCreateTopics: boolean): void {
    table.put(buildNamespacePolicy({ name: "default", generation: 1, autoCreateTopics, autoCreateGroups: false }, []));
  }
}

export function brokerName(index: number): string {
  return `broker-${String(index).padStart(3, "0")}`;
}

/** One push: who was told, in how many responses and bytes, and when the last one had decoded it. */
export interface PushFigures {
  readonly receivers: number;
  readonly responses: number;
  readonly bytes: number;
  readonly lastMs: number;
}

/** What `simulateFanOut` found. */
export interface FanOutFigures {
  /** Server and clients share one thread. */
  readonly coldStartMs: number;
  readonly coldStartBytesDown: number;
  readonly heldPerSidecar: number;
  /** Heap and buffers that the server takes for one stream, the client's few fields included. */
  readonly bytesPerSidecar: number;
  readonly rule: PushFigures;
  readonly topic: PushFigures;
  readonly flap: PushFigures;
}

/**
 * The real discovery server with every sidecar of `size` on it, over a transport in memory: encoded messages both ways, one turn of
 * the event loop apart. Needs `--expose-gc`.
 */
export async function simulateFanOut(size: FanOutSize): Promise<FanOutFigures> {
  const mesh = new FanOutMesh(size);
  const table = new ResourceTable();
  mesh.fill(table);
  const clock = new NodeClock();
  const randomness = new SeededRandomness(size.seed);
  const server = new AdsServer(table, "simulated", {
    ...{ clock, randomness, log: silentLog, metrics: new MetricRegistry() },
  });
  const tally = new Tally();
  const arrived: { readonly sidecar: FanOutSidecar; readonly bytes: Uint8Array }[] = [];
  const connect = (index: number): FanOutSidecar => {
    // Requests to the server are taken at once; responses in the next turn, as a socket brings them.
    const sidecar: FanOutSidecar = new FanOutSidecar(tally, (bytes) => connection.message(bytes));
    const connection = server.open("delta", {
      peer: "memory",
      write: (bytes) => arrived.push({ sidecar, bytes }) > 0,
      end: (how) => {
        throw new Error(`the server ended a stream: ${how.details}`);
      },
    });
    sidecar.start(`sidecar-${index}`, mesh.topicsOf(index));
    return sidecar;
  };
  /** Delivers until nothing is under way. */
  const deliver = () => {
    for (let next = 0; next < arrived.length; next++) {
      const { sidecar, bytes } = arrived[next] as (typeof arrived)[number];
      sidecar.receive(bytes);
    }
    arrived.length = 0;
  };
  const push = async (typeUrl: string, name: string, receivers: number, change: () => void): Promise<PushFigures> => {
    // The burst before is over: a change alone leaves at the end of its turn.
    await new Promise((resolve) => clock.after(200, () => resolve(undefined)));
    tally.clear();
    const all = tally.seen(typeUrl, name, receivers);
    let isSeen = false;
    void all.then(() => {
      isSeen = true;
    });
    const startMs = performance.now();
    change();
    while (!isSeen) {
      await new Promise((resolve) => setImmediate(resolve));
      deliver();
      await Promise.resolve();
      if (performance.now() - startMs > 60_000) throw new Error(`${name} was not seen by all within a minute`);
    }
    const { responses, bytes } = tally;
    return { receivers, responses, bytes, lastMs: performance.now() - startMs };
  };

  const bytesBefore = await bytesInUse();
  const startMs = performance.now();
  const sidecars: FanOutSidecar[] = [];
  while (sidecars.length < size.sidecars) {
    sidecars.push(connect(sidecars.length));
    deliver();
  }
  const coldStartMs = performance.now() - startMs;
  const coldStartBytesDown = tally.bytes;
  const bytesPerSidecar = ((await bytesInUse()) - bytesBefore) / size.sidecars;
  const reports = server.reports();
  const heldPerSidecar = reports.reduce((sum, { held }) => sum + held.length, 0) / reports.length;
  const isComplete = ({ held }: (typeof reports)[number]) =>
    held.every(({ status }) => status === "SYNCED") &&
    held.filter(({ typeUrl }) => typeUrl === TopicRoute).length === size.topicsPerSidecar;
  if (!reports.every(isComplete)) throw new Error("a sidecar does not hold all that it uses");

  // Compiled before it is measured, as in a control plane that has run for a while.
  await push(NamespacePolicy, "default", size.sidecars, () => mesh.putNamespace(table, true));
  const rule = await push(NamespacePolicy, "default", size.sidecars, () => mesh.putNamespace(table, false));
  const changing = mesh.usedBy[0]?.[0] ?? 0;
  const users = mesh.usersOfTopic(changing);
  const topic = await push(TopicRoute, `default/${mesh.topicNames[changing]}`, users, () =>
    mesh.putTopic(table, changing, 16),
  );
  const flapping = brokerName(0);
  const flap = await push(Endpoints, `bg/${flapping}`, mesh.usersOfBroker(flapping), () =>
    mesh.putBroker(table, flapping, false),
  );
  // Streams that end would each throw; the process of the measurement ends with them.
  return { coldStartMs, coldStartBytesDown, heldPerSidecar, bytesPerSidecar, rule, topic, flap };
}

/** What a collection frees is counted off later, by another thread: the least of several looks. */
async function bytesInUse(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 4; look++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}
