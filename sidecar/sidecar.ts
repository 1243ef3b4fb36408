import { AdminServer } from "../proto/runtime/admin-server.ts";
import type { Clock, Timer } from "../proto/runtime/clock.ts";
import type { Log } from "../proto/runtime/log.ts";
import { MetricRegistry } from "../proto/runtime/metric.ts";
import type { Randomness } from "../proto/runtime/randomness.ts";
import { defineAdminRoutes, type Readiness } from "./admin/admin-routes.ts";
import { defaultCircuitLimits } from "./cluster/circuit-limits.ts";
import { ClusterManager, type UpstreamFactory } from "./cluster/cluster-manager.ts";
import type { SidecarConfig } from "./config.ts";
import { drain } from "./drain.ts";
import { AccessLogFilter } from "./filter/access-log.ts";
import { AdmissionFilter } from "./filter/admission.ts";
import { DeadlineFilter } from "./filter/deadline.ts";
import { FilterChain } from "./filter/filter-chain.ts";
import { NamespaceBinding } from "./filter/namespace-binding.ts";
import { RateLimitFilter } from "./filter/rate-limit.ts";
import { Router } from "./filter/router.ts";
import { ValidationFilter } from "./filter/validation.ts";
import { baseLane } from "./lane/lane.ts";
import { LaneMarks } from "./lane/lane-marks.ts";
import { LaneSwitch } from "./lane/lane-switch.ts";
import { TraceLanes } from "./lane/trace-lanes.ts";
import { LimitTable } from "./limit/limit-table.ts";
import { ShareKeeper } from "./limit/share-keeper.ts";
import { AutoRenewal } from "./listener/auto-renewal.ts";
import { CallEntry } from "./listener/call-entry.ts";
import { ClientSessions } from "./listener/client-session.ts";
import { GrpcServer, type TlsMaterial } from "./listener/http2/server.ts";
import { LaneConsumers } from "./listener/lane-consumers.ts";
import { LiveProducers } from "./listener/live-producers.ts";
import { messagingService } from "./listener/messaging-service.ts";
import { OrphanRecovery } from "./listener/orphan-recovery.ts";
import { StallWatch } from "./listener/stall-watch.ts";
import { RouteTable } from "./route/route-table.ts";
import { BrokerCoreUpstream } from "./upstream/broker-core/broker-core-upstream.ts";
import { openControlPlaneChannel } from "./xds/control-plane-channel.ts";
import { defaultGroupPolicy } from "./xds/group-policy-resource.ts";
import { LastKnownGood } from "./xds/last-known-good.ts";
import { LimitClient } from "./xds/limit-client.ts";
import { MeshConfig } from "./xds/mesh-config.ts";
import { OnDemand } from "./xds/on-demand.ts";
import { RegistryClient } from "./xds/registry-client.ts";
import { SavedShares } from "./xds/saved-shares.ts";

export interface SidecarDeps {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  /** Makes the connection to a broker; left out: to our own, over frames. */
  readonly createUpstream?: UpstreamFactory;
  /** Undefined: the port takes cleartext alone. */
  readonly tls: TlsMaterial | undefined;
  readonly version: string;
}

/** A sidecar that runs. */
export interface Sidecar {
  /** Where it listens, with the real ports. */
  readonly port: number;
  readonly adminPort: number;
  /** Drains; resolves when everything has ended. */
  stop(): Promise<void>;
  /** Ends everything now; idempotent. */
  stopNow(): void;
}

const memorySampleMs = 250;
/** What was handed back at the last moment still reaches its broker. */
const endGraceMs = 1_000;

/**
 * The whole path of a call, innermost stage first: read it upwards to follow a call down.
 *
 *     listener → filter chain → router: route → lane → cluster → upstream
 */
export async function startSidecar(config: SidecarConfig, deps: SidecarDeps): Promise<Sidecar> {
  const { clock, log } = deps;
  const metrics = new MetricRegistry();
  const id = `sidecar-${deps.randomness.bytes(6).toString("hex")}`;
  const laneSwitch = await LaneSwitch.open(config.dataDir);
  // First of all: the control plane is told where it is. Its routes come before anybody can have asked.
  const admin = new AdminServer({ log });
  const adminPort = await admin.listen(config.admin);

  const namespaces = new NamespaceBinding(config.namespace);

  // Data plane.
  const createUpstream: UpstreamFactory =
    deps.createUpstream ??
    ((brokerName, { host, port }) =>
      new BrokerCoreUpstream({
        ...{ brokerName, host, port },
        hello: { sidecarId: id, lane: config.lane },
        ...deps,
        limits: defaultCircuitLimits,
      }));
  const clusters = new ClusterManager({ ...deps, createUpstream, limits: defaultCircuitLimits });
  const routes = new RouteTable();
  const limits = new LimitTable();

  // Configuration plane: it only swaps snapshots into the two above.
  const channel = openControlPlaneChannel(config.controlPlane);
  const lastKnownGood = new LastKnownGood(config.dataDir, clock, log);
  const meshConfig = new MeshConfig(
    channel,
    {
      node: { id, cluster: config.lane, version: deps.version, admin: `${config.admin.host}:${adminPort}` },
      defaultNamespace: namespaces.fallback,
      removalGraceMs: config.removalGrace,
    },
    { routes, clusters, limits, lastKnownGood },
    { ...deps, metrics },
  );
  const shares = new SavedShares(lastKnownGood, clock);
  const shareKeeper = new ShareKeeper(limits, new LimitClient(channel, id, clock), shares, clock);
  meshConfig.onLimitDropped = (name) => shares.remove(name);
  const onDemand = new OnDemand(meshConfig, routes, clusters, new RegistryClient(channel, id, clock), clock);

  // The chain that every call passes, and what stands behind it.
  const admission = new AdmissionFilter(
    {
      sendsMax: config.sendsMax,
      receivesMax: config.receivesMax,
      requestBytesMax: config.requestBytesMax,
      memoryBytesMax: config.memoryMax,
    },
    metrics,
  );
  const chain = new FilterChain([
    new AccessLogFilter(config.accessLog, clock, log, metrics), // sees every answer, local ones too
    admission, // sheds before any work is done
    new DeadlineFilter(clock),
    new ValidationFilter(namespaces),
    new RateLimitFilter(limits, clock), // counts what would otherwise be served
  ]);
  const router = new Router(
    { routes, clusters, onDemand, instanceLane: config.lane, lanes: laneSwitch },
    clock,
    metrics,
  ); // always last

  // What applications connect to.
  const sessions = new ClientSessions(clock);
  const renewal = new AutoRenewal(sessions, router, clock, log, metrics);
  const producers = new LiveProducers();
  const recovery = new OrphanRecovery(producers, log, metrics);
  const stalls = new StallWatch(clock, metrics);
  const traces = new TraceLanes(clock);
  const consumers = config.lane === baseLane ? undefined : new LaneConsumers();
  let port = config.listen.port;
  const service = messagingService({
    entry: new CallEntry(chain, sessions, clock, namespaces.fallback),
    router,
    sessions,
    renewal,
    producers,
    stalls,
    lanes: new LaneMarks(config.lane, traces),
    limits,
    consumers,
    log,
    metrics,
    namespaces,
    defaultPolicy: defaultGroupPolicy,
    own: () => ({ host: config.listen.host, port }),
  });
  const server = new GrpcServer({
    methods: service.methods,
    clock,
    log,
    metrics,
    limits: { connectionsMax: config.connectionsMax, inflightBytesMax: config.requestBytesMax },
    onConnectionClosed: ({ id }) => consumers?.connectionClosed(id),
    ...(deps.tls === undefined ? {} : { tls: deps.tls }),
  });

  // Who tells whom.
  meshConfig.onApplied = (changedGroups) => {
    onDemand.recheck();
    if (changedGroups.size > 0) service.telemetry.pushToGroups(changedGroups);
  };
  meshConfig.isAwaited = () => onDemand.waiterCount > 0;
  meshConfig.pinned = () => ({
    topics: [...sessions].flatMap((session) => session.topics),
    groups: [...sessions].map((session) => session.group),
  });
  sessions.onGone = (session) => {
    renewal.releaseAll(session);
    producers.update(session, true);
    consumers?.forget(session);
  };
  if (consumers !== undefined) consumers.onChange = (all) => clusters.announceConsumers(laneSwitch.isOff ? [] : all);
  producers.onChange = (topic, isLive) => clusters.announceProducer(topic, isLive);
  clusters.onOrphan = (orphan) => recovery.recover(orphan);
  metrics.gaugeOf("popmesh_sidecar_clients", "Clients known.", () => sessions.count);
  metrics.gaugeOf("popmesh_sidecar_telemetry_streams", "Open Telemetry streams.", () => service.telemetry.streamCount);
  metrics.gaugeOf(
    "popmesh_sidecar_on_demand_waiters",
    "Calls that wait for configuration.",
    () => onDemand.waiterCount,
  );
  const lanesOff =
    "1: clients receive as those of the base lane, whatever the lane of the instance (popmesh lanes off).";
  metrics.gaugeOf("popmesh_sidecar_lanes_off", lanesOff, () => (laneSwitch.isOff ? 1 : 0));
  metrics.gaugeOf("popmesh_sidecar_trace_lanes", "Traces whose lane is remembered.", () => traces.count);
  metrics.gaugeOf("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());

  const timers: Timer[] = [];
  let isDraining = false;
  let isStopped = false;
  const stopNow = (): void => {
    if (isStopped) return;
    isStopped = true;
    for (const timer of timers) timer.cancel();
    void shareKeeper.stop();
    sessions.stop();
    renewal.stop();
    stalls.stop();
    server.closeAll();
    channel.close();
  };
  const end = async (): Promise<void> => {
    stopNow();
    await Promise.all([meshConfig.stop(), clusters.close(endGraceMs), admin.close()]);
  };
  const stop = async (): Promise<void> => {
    if (!isDraining) {
      isDraining = true;
      await drain({
        clock,
        log,
        server,
        admission,
        service,
        consumers,
        serveMs: config.drainServe,
        totalMs: config.drainTotal,
      });
    }
    await shareKeeper.stop();
    await end();
  };
  const readiness = (): Readiness => (isDraining ? "draining" : meshConfig.isInitialized ? "live" : "initializing");
  defineAdminRoutes(admin, {
    config,
    meshConfig,
    limits,
    clusters,
    metrics,
    log,
    readiness,
    lanes: {
      lane: config.lane,
      isOff: () => laneSwitch.isOff,
      turn: async (isOff) => {
        await laneSwitch.turn(isOff);
        // Whoever waits asks again, as what it is now.
        service.receive.endAll();
        consumers?.tellAgain();
        log.warn({ lanes: isOff ? "off" : "on" }, "the kill switch of this sidecar's lane was turned");
      },
    },
    drain: () => process.kill(process.pid, "SIGTERM"),
  });

  await meshConfig.start();
  sessions.start();
  renewal.start();
  stalls.start();
  timers.push(
    clock.every(memorySampleMs, () => {
      admission.noteMemory(process.memoryUsage.rss());
      if (admission.wantsFewerReceives && !isDraining) service.receive.endAll();
    }),
  );
  try {
    port = await server.listen(config.listen);
    await listenOnIpv6Loopback(server, config.listen.host, port, log);
    log.info(
      { listen: `${config.listen.host}:${port}`, admin: adminPort, tls: deps.tls !== undefined },
      "sidecar listens",
    );
    return { port, adminPort, stop, stopNow };
  } catch (error) {
    await end();
    throw error;
  }
}

/** "localhost" means ::1 to some clients. Not having IPv6 is no reason not to start. */
async function listenOnIpv6Loopback(server: GrpcServer, host: string, port: number, log: Log): Promise<void> {
  if (host !== "127.0.0.1" && host !== "localhost") return;
  try {
    await server.listen({ host: "::1", port });
  } catch (error) {
    log.debug({ err: error }, "not listening on ::1 too");
  }
}
