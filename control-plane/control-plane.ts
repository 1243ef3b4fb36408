import { Server, ServerCredentials } from "@grpc/grpc-js";
import { defaultNamespace } from "../proto/resource-name.ts";
import type { Clock } from "../proto/runtime/clock.ts";
import type { Log } from "../proto/runtime/log.ts";
import { MetricRegistry } from "../proto/runtime/metric.ts";
import type { Randomness } from "../proto/runtime/randomness.ts";
import type { HostAndPort } from "../proto/runtime/settings.ts";
import { ApiServer } from "./api/api-server.ts";
import { Catalog } from "./catalog/catalog.ts";
import { declareNamespace } from "./catalog/declare.ts";
import type { ControlPlaneConfig } from "./config.ts";
import { limitService } from "./limit/limit-service.ts";
import { LimitShares } from "./limit/limit-shares.ts";
import { BrokerOperator } from "./operation/broker-operator.ts";
import { DrainKeeper } from "./operation/drain-keeper.ts";
import { LanePublisher } from "./operation/lane-publisher.ts";
import { BrokerLeases } from "./registry/broker-leases.ts";
import { registryService } from "./registry/registry-service.ts";
import { defaultLimitNamed } from "./resource/default-limit.ts";
import { RolloutController } from "./rollout/rollout-controller.ts";
import { ResourceTable } from "./snapshot/resource-table.ts";
import { SnapshotPublisher } from "./snapshot/snapshot-publisher.ts";
import { Store } from "./store/store.ts";
import { AdsServer } from "./xds/ads-server.ts";
import { adsService } from "./xds/ads-service.ts";
import { clientStatusService } from "./xds/client-status.ts";

/** Longest message taken; a first request with 10 000 names of 255 bytes fits. */
const messageBytesMax = 4 * 1024 * 1024;
const keepaliveMs = 30_000;
const keepaliveAnswerMs = 10_000;
/** Calls that are open when the process stops may finish within this. */
const stopMsMax = 2_000;

export interface ControlPlaneDeps {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  /** What was decided could not be written; the process must end. */
  readonly onStoreFailure: (error: unknown) => void;
}

/** An address of the settings cannot be used. */
export class CannotListenError extends Error {
  override readonly name = "CannotListenError";

  constructor(at: HostAndPort, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`cannot listen on ${at.host}:${at.port} (${why}); stop what uses it, or choose another: --xds or --api`, {
      cause,
    });
  }
}

/** A control plane that serves. */
export interface ControlPlane {
  readonly xdsPort: number;
  readonly apiPort: number;
  /** Ends streams and calls in order and closes the store. */
  stop(): Promise<void>;
}

/**
 * The whole control plane, in the order in which a change passes it: the API or the registry decides on the catalog, the store
 * makes it durable, the snapshot encodes it, xDS pushes it. Rejects when the store must not be served or a port is taken.
 */
export async function startControlPlane(config: ControlPlaneConfig, deps: ControlPlaneDeps): Promise<ControlPlane> {
  const { clock, log } = deps;
  const metrics = new MetricRegistry();
  const isAutoCreating = config.autoCreate === "on";
  const namespaceDefaults = { autoCreateTopics: isAutoCreating, autoCreateGroups: isAutoCreating };

  const store = await Store.open({
    directory: config.dataDir,
    bootstrap: config.bootstrap,
    acceptEmptyStore: config.acceptEmptyStore,
    clock,
  });
  const leases = new BrokerLeases(config.brokerLease, clock, (name) => {
    log.warn({ broker: name }, "a broker's lease lapsed; its endpoint is unhealthy until it registers again");
    publishEndpoints(name);
    lanes.lapsed();
  });
  const catalog = new Catalog({
    tables: store.tables,
    store,
    clock,
    isAlive: (name) => leases.isAlive(name),
    onStoreFailure: deps.onStoreFailure,
  });
  await catalog.change("control-plane", (draft) => declareNamespace(draft, defaultNamespace, {}, namespaceDefaults));
  for (const broker of catalog.tables.broker.values()) if (broker.state !== "stopped") leases.renew(broker.name);

  const resources = new ResourceTable();
  const { rateLimit: limits, namespace: namespaces } = catalog.tables;
  const limitNamed = (name: string) => limits.get(name) ?? defaultLimitNamed(name, namespaces);
  const [oldLimits, oldNamespaces] = [new Set(limits.keys()), new Map(namespaces)];
  const isOldLimit = (name: string) => oldLimits.has(name) || defaultLimitNamed(name, oldNamespaces) !== undefined;
  const publisher = new SnapshotPublisher(catalog, resources, (name) => leases.isAlive(name));
  const publishEndpoints = (name: string) => {
    const broker = catalog.tables.broker.get(name);
    if (broker !== undefined) publisher.publishEndpoints(broker);
  };

  const ads = new AdsServer(resources, `popmesh-control-plane-${process.pid}`, { ...deps, metrics });
  const brokers = new BrokerOperator(catalog, `control-plane-${process.pid}`, clock);
  const lanes = new LanePublisher({
    ...{ catalog, clock, log, metrics, namespaceDefaults },
    call: (broker, method, parameters) => brokers.call(broker, method, parameters),
    isAlive: (name) => leases.isAlive(name),
  });
  const rollouts = new RolloutController({
    ...{ catalog, clock, log, metrics },
    call: (broker, method, parameters, timeoutMs) => brokers.call(broker, method, parameters, timeoutMs),
    standings: (rule) => lanes.standings(rule),
    laneContext: { namespaceDefaults, generationSeen: (ruleKey) => lanes.generationSeen(ruleKey) },
  });
  const drains = new DrainKeeper({
    ...{ catalog, clock, log },
    call: (broker, method, parameters) => brokers.call(broker, method, parameters),
    isAlive: (name) => leases.isAlive(name),
  });
  const onRevival = (name: string) => {
    publishEndpoints(name);
    drains.cameBack(name);
    lanes.cameBack(name);
  };
  const registry = registryService({ catalog, leases, namespaceDefaults, onRevival, log });
  const status = clientStatusService(() => ads.reports());
  const shares = new LimitShares(limitNamed, isOldLimit, clock.monotonicMs());
  const grpc = new Server({
    "grpc.max_receive_message_length": messageBytesMax,
    // Counters per connection and stream that nobody reads here.
    "grpc.enable_channelz": 0,
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": keepaliveAnswerMs,
  });
  for (const { definition, implementation } of [adsService(ads), registry, status, limitService(shares, clock)]) {
    grpc.addService(definition, implementation);
  }
  const limitStandings = (name: string) => shares.standings(name, clock.monotonicMs());
  const api = new ApiServer({
    catalog,
    store,
    ads,
    leases,
    brokers,
    lanes,
    rollouts,
    drains,
    limitStandings,
    namespaceDefaults,
    metrics,
    log,
    config,
  });
  const closeStore = async () => {
    ads.close();
    rollouts.close();
    lanes.close();
    drains.close();
    brokers.close();
    leases.close();
    await store.close();
  };
  try {
    const xdsPort = await bind(grpc, config.xds);
    const apiPort = await api.listen(config.api).catch((error: unknown) => {
      throw new CannotListenError(config.api, error);
    });
    lanes.start();
    rollouts.start();
    drains.start();
    log.info({ xdsPort, apiPort, topics: catalog.tables.topic.size, groups: catalog.tables.group.size }, "ready");
    return {
      xdsPort,
      apiPort,
      async stop() {
        await api.close();
        ads.close();
        await shutDown(grpc, clock);
        await closeStore();
      },
    };
  } catch (error) {
    grpc.forceShutdown();
    await api.close();
    await closeStore();
    throw error;
  }
}

function bind(server: Server, at: HostAndPort): Promise<number> {
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${at.port}`, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new CannotListenError(at, error));
    });
  });
}

function shutDown(server: Server, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const force = clock.after(stopMsMax, () => server.forceShutdown());
    server.tryShutdown(() => {
      force.cancel();
      resolve();
    });
  });
}
