import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { Code } from "../../proto/code.ts";
import { TypeUrl } from "../../sidecar/xds/resource-type.ts";

const { DeltaDiscoveryRequest, DeltaDiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.DeltaDiscoveryRequest;
type Response = envoy.service.discovery.v3.IDeltaDiscoveryResponse;

/** What a test writes about a topic. */
export interface FakeTopic {
  readonly brokers: readonly string[];
  readonly messageTypes?: number;
  readonly queueCount?: number;
  readonly state?: number;
  readonly readable?: boolean;
  readonly writable?: boolean;
  readonly rateLimits?: readonly string[];
  readonly maxMessageBytes?: number;
  readonly groupSpread?: popmesh.v1.IGroupSpread;
}

/**
 * A control plane in memory: delta ADS with on-demand names, and the registry. It says what a test tells it to, also what no
 * real one would say, and remembers what it was told.
 */
export class FakeControlPlane {
  readonly requests: Request[] = [];
  readonly ensured: string[] = [];
  /** Types that are never answered. */
  readonly silentTypes = new Set<string>();
  autoCreate = true;
  /** The part of every rate limit that each sidecar gets. */
  share = 1;
  readonly shareRequests: popmesh.v1.ShareRequest[] = [];
  refusal: { readonly code: Code; readonly message: string } | undefined;
  readonly #resources = new Map<string, Map<string, { readonly version: string; readonly bytes: Uint8Array }>>();
  readonly #streams = new Set<FakeStream>();
  #server: Server | undefined;
  #versionCount = 0;
  #port = 0;

  get port(): number {
    return this.#port;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  async start(port = 0): Promise<void> {
    const server = new Server();
    server.addService(
      {
        DeltaAggregatedResources: {
          path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
          requestStream: true,
          responseStream: true,
          requestSerialize: (value: Request) => bufferOf(DeltaDiscoveryRequest.encode(value).finish()),
          requestDeserialize: (bytes: Buffer) => DeltaDiscoveryRequest.decode(bytes),
          responseSerialize: (value: Response) => bufferOf(DeltaDiscoveryResponse.encode(value).finish()),
          responseDeserialize: (bytes: Buffer) => DeltaDiscoveryResponse.decode(bytes),
        },
        Share: {
          path: "/popmesh.v1.Limits/Share",
          requestStream: false,
          responseStream: false,
          requestSerialize: (value: popmesh.v1.ShareRequest) =>
            bufferOf(popmesh.v1.ShareRequest.encode(value).finish()),
          requestDeserialize: (bytes: Buffer) => popmesh.v1.ShareRequest.decode(bytes),
          responseSerialize: (value: popmesh.v1.IShareAnswer) =>
            bufferOf(popmesh.v1.ShareAnswer.encode(value).finish()),
          responseDeserialize: (bytes: Buffer) => popmesh.v1.ShareAnswer.decode(bytes),
        },
        EnsureTopic: this.#ensureMethod("EnsureTopic"),
        EnsureGroup: this.#ensureMethod("EnsureGroup"),
      },
      {
        DeltaAggregatedResources: (call: ServerDuplexStream<Request, Response>) => {
          const stream = new FakeStream(this, call);
          this.#streams.add(stream);
          call.on("data", (request: Request) => {
            this.requests.push(request);
            stream.onRequest(request);
          });
          const close = () => this.#streams.delete(stream);
          call.on("end", () => {
            close();
            call.end();
          });
          call.on("error", close);
          call.on("close", close);
        },
        Share: (
          call: ServerUnaryCall<popmesh.v1.ShareRequest, popmesh.v1.IShareAnswer>,
          done: sendUnaryData<popmesh.v1.IShareAnswer>,
        ) => {
          this.shareRequests.push(call.request);
          const { share: part } = this;
          const share = call.request.demand.map(({ name }) => ({ name, messages: part, bytes: part }));
          done(null, { share, reportAfterMs: 1_000 });
        },
        EnsureTopic: this.#ensure((name) => this.setTopic(name, { brokers: ["broker-a"] })),
        EnsureGroup: this.#ensure((name) => this.setGroup(name)),
      },
    );
    this.#port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    this.#server = server;
  }

  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#streams.clear();
  }

  setNamespace(
    name: string,
    autoCreateTopics: boolean,
    autoCreateGroups: boolean,
    policy: popmesh.v1.INamespacePolicy = {},
  ): void {
    const whole = { ...policy, name, autoCreateTopics, autoCreateGroups };
    this.set(TypeUrl.NamespacePolicy, name, popmesh.v1.NamespacePolicy.encode(whole).finish());
  }

  setTopic(name: string, topic: FakeTopic): void {
    const segment = topic.brokers.map((broker) => ({
      cluster: `bg/${broker}`,
      queueCount: topic.queueCount ?? 4,
      readable: topic.readable ?? true,
      writable: topic.writable ?? true,
    }));
    this.set(
      TypeUrl.TopicRoute,
      name,
      popmesh.v1.TopicRoute.encode({
        name,
        incarnation: 1,
        messageTypes: topic.messageTypes ?? 0,
        segment,
        state: topic.state ?? 1,
        rateLimits: [...(topic.rateLimits ?? [])],
        maxMessageBytes: topic.maxMessageBytes ?? 0,
        groupSpread: topic.groupSpread ?? null,
      }).finish(),
    );
  }

  setGroup(name: string, policy: popmesh.v1.IConsumerGroupPolicy = {}): void {
    this.set(
      TypeUrl.ConsumerGroupPolicy,
      name,
      popmesh.v1.ConsumerGroupPolicy.encode({
        generation: 1,
        attemptsMax: 17,
        backoff: { initialMs: 5_000, maxMs: 60_000, multiplier: 2 },
        receiveBatchSize: 32,
        longPollingMs: 20_000,
        ...policy,
        name,
      }).finish(),
    );
  }

  /** A rate limit; the topic, group or namespace that it is for must name it too. */
  setRateLimit(name: string, limit: popmesh.v1.IRateLimit): void {
    const whole = { generation: 1, direction: 1, burstMs: 1_000, ...limit, name };
    this.set(TypeUrl.RateLimit, name, popmesh.v1.RateLimit.encode(whole).finish());
  }

  /** A broker group with endpoints that only the fake upstreams know. */
  setBroker(
    name: string,
    endpoints: readonly { readonly port: number; readonly health?: number }[] = [{ port: 1 }],
  ): void {
    const cluster = `bg/${name}`;
    this.set(TypeUrl.Cluster, cluster, envoy.config.cluster.v3.Cluster.encode({ name: cluster, type: 3 }).finish());
    this.set(
      TypeUrl.ClusterLoadAssignment,
      cluster,
      envoy.config.endpoint.v3.ClusterLoadAssignment.encode({
        clusterName: cluster,
        endpoints: [
          {
            lbEndpoints: endpoints.map(({ port, health }) => ({
              endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: port } } },
              healthStatus: health ?? 1,
            })),
          },
        ],
      }).finish(),
    );
  }

  set(typeUrl: string, name: string, bytes: Uint8Array): void {
    let resources = this.#resources.get(typeUrl);
    if (resources === undefined) this.#resources.set(typeUrl, (resources = new Map()));
    resources.set(name, { version: `v${++this.#versionCount}`, bytes });
    for (const stream of this.#streams) stream.push(typeUrl, [name]);
  }

  remove(typeUrl: string, name: string): void {
    this.#resources.get(typeUrl)?.delete(name);
    for (const stream of this.#streams) stream.push(typeUrl, [name]);
  }

  get(typeUrl: string, name: string): { readonly version: string; readonly bytes: Uint8Array } | undefined {
    return this.#resources.get(typeUrl)?.get(name);
  }

  /** Sends a response as it is to every stream. */
  pushRaw(response: Response): void {
    for (const stream of this.#streams) stream.write(response);
  }

  #ensureMethod(name: string) {
    return {
      path: `/popmesh.v1.Registry/${name}`,
      requestStream: false as const,
      responseStream: false as const,
      requestSerialize: (value: popmesh.v1.IEnsureTopicRequest) =>
        bufferOf(popmesh.v1.EnsureTopicRequest.encode(value).finish()),
      requestDeserialize: (bytes: Buffer) => popmesh.v1.EnsureTopicRequest.decode(bytes),
      responseSerialize: (value: popmesh.v1.IEnsureAnswer) => bufferOf(popmesh.v1.EnsureAnswer.encode(value).finish()),
      responseDeserialize: (bytes: Buffer) => popmesh.v1.EnsureAnswer.decode(bytes),
    };
  }

  #ensure(create: (name: string) => void) {
    return (
      call: ServerUnaryCall<popmesh.v1.EnsureTopicRequest, popmesh.v1.IEnsureAnswer>,
      answer: sendUnaryData<popmesh.v1.IEnsureAnswer>,
    ) => {
      this.ensured.push(call.request.name);
      if (this.refusal !== undefined) {
        answer(null, this.refusal);
        return;
      }
      create(call.request.name);
      answer(null, { code: Code.Ok, message: "OK" });
    };
  }
}

class FakeStream {
  readonly #plane: FakeControlPlane;
  readonly #call: ServerDuplexStream<Request, Response>;
  readonly #subscribed = new Map<string, Set<string>>();
  #nonce = 0;

  constructor(plane: FakeControlPlane, call: ServerDuplexStream<Request, Response>) {
    this.#plane = plane;
    this.#call = call;
  }

  onRequest(request: Request): void {
    let names = this.#subscribed.get(request.typeUrl);
    if (names === undefined) this.#subscribed.set(request.typeUrl, (names = new Set()));
    const fresh: string[] = [];
    for (const name of request.resourceNamesSubscribe) {
      names.add(name);
      const held = request.initialResourceVersions[name];
      const current = this.#plane.get(request.typeUrl, name);
      if (held === undefined || held !== current?.version) fresh.push(name);
    }
    for (const name of request.resourceNamesUnsubscribe) names.delete(name);
    this.push(request.typeUrl, fresh);
  }

  push(typeUrl: string, names: readonly string[]): void {
    const subscribed = this.#subscribed.get(typeUrl);
    const wanted = names.filter((name) => subscribed?.has(name) === true);
    if (wanted.length === 0 || this.#plane.silentTypes.has(typeUrl)) return;
    const resources = [];
    const removedResources = [];
    for (const name of wanted) {
      const resource = this.#plane.get(typeUrl, name);
      if (resource === undefined) removedResources.push(name);
      else resources.push({ name, version: resource.version, resource: { type_url: typeUrl, value: resource.bytes } });
    }
    this.write({ typeUrl, resources, removedResources });
  }

  write(response: Response): void {
    this.#call.write({ ...response, nonce: `n${++this.#nonce}` });
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
