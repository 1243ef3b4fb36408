import type { Client } from "@grpc/grpc-js";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { ClusterManager } from "../cluster/cluster-manager.ts";
import { clusterNameOf, type EndpointSnapshot } from "../cluster/cluster-snapshot.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import type { RateLimit } from "../limit/rate-limit.ts";
import { absent, type Lookup, type Present, type RouteTable } from "../route/route-table.ts";
import type { GroupPolicy, NamespacePolicy, TopicRoute } from "../route/topic-route.ts";
import { type ClusterDefinition, decodeCluster, decodeEndpoints } from "./cluster-resource.ts";
import { type AdsNode, DeltaAdsClient } from "./delta-ads-client.ts";
import { decodeGroupPolicy } from "./group-policy-resource.ts";
import type { LastKnownGood } from "./last-known-good.ts";
import { decodeNamespacePolicy } from "./namespace-policy-resource.ts";
import { decodeRateLimit } from "./rate-limit-resource.ts";
import { ReferencedLimits } from "./referenced-limits.ts";
import { TypeUrl } from "./resource-type.ts";
import { decodeTopicRoute } from "./topic-route-resource.ts";
import { type Received, type ResourceEntry, TypeSubscription } from "./type-subscription.ts";

export interface MeshConfigSettings {
  readonly node: AdsNode;
  /** Always of interest: its answer also proves that the control plane is there. */
  readonly defaultNamespace: string;
  /** How long a removed topic with recent traffic stays in force. A withdrawn configuration must not break what works. */
  readonly removalGraceMs: number;
}

/** Traffic within this time makes a removal suspicious. */
const recentUseMs = 5 * 60_000;
/** A route waits this long for the clusters it refers to before it comes into force with those that are known. */
const closureMsMax = 2_000;
/** "Does not exist" is believed this long after the stream is gone. */
const absentTrustedMs = 30_000;
/** After a start from disk, requests wait this long for the control plane before they are served what was on disk. */
const settleMs = 500;
/** When the first answer has come, versions from disk that were not contradicted within this time are confirmed. */
const confirmMs = 200;

const sweepPeriodMs = 30_000;
const topicIdleMs = 15 * 60_000;
const groupIdleMs = 30 * 60_000;
/** Receipts may come back as long as the longest invisible time; then their broker must still be known. */
const clusterIdleMs = 12 * 3_600_000;
const absentIdleMs = 60_000;
const absentMax = 1_000;

/** At most this many applications at once, then ten a second: flapping configuration must not eat the processor. */
const applyBurst = 20;
const applyPeriodMs = 100;

/**
 * What this sidecar knows of the mesh: one subscription per resource type, fed by the control plane and by the disk. After
 * each change it builds one new immutable snapshot for the route table and tells the cluster manager what changed.
 */
export class MeshConfig {
  readonly topics = new TypeSubscription<TopicRoute>(TypeUrl.TopicRoute, decodeTopicRoute);
  readonly groups = new TypeSubscription<GroupPolicy>(TypeUrl.ConsumerGroupPolicy, decodeGroupPolicy);
  readonly namespaces = new TypeSubscription<NamespacePolicy>(TypeUrl.NamespacePolicy, decodeNamespacePolicy, false);
  readonly rateLimits = new TypeSubscription<RateLimit>(TypeUrl.RateLimit, decodeRateLimit);
  readonly clusters = new TypeSubscription<ClusterDefinition>(TypeUrl.Cluster, decodeCluster);
  readonly endpoints = new TypeSubscription<readonly EndpointSnapshot[]>(
    TypeUrl.ClusterLoadAssignment,
    decodeEndpoints,
  );
  readonly ads: DeltaAdsClient;
  readonly #all: readonly TypeSubscription<unknown>[];
  readonly #settings: MeshConfigSettings;
  readonly #routes: RouteTable;
  readonly #manager: ClusterManager;
  readonly #limits: ReferencedLimits;
  readonly #lastKnownGood: LastKnownGood;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Routes in force: a new version replaces the old one when all it refers to is known. */
  readonly #routesInForce = new Map<string, Present<TopicRoute>>();
  readonly #groupsInForce = new Map<string, Present<GroupPolicy>>();
  readonly #namespacesInForce = new Map<string, Present<NamespacePolicy>>();
  readonly #endpointsInForce = new Map<string, readonly EndpointSnapshot[]>();
  /** Removed by the control plane, still in force until then. By type and name. */
  readonly #condemned = new Map<
    string,
    { readonly untilMs: number; readonly subscription: TypeSubscription<unknown> }
  >();
  #isPublished = false;
  #hasBeenUp = false;
  #downSinceMs: number;
  #applyTimer: Timer | undefined;
  #applyTokens = applyBurst;
  #applyRefillMs = 0;
  #sweepTimer: Timer | undefined;
  /** Called after each new snapshot, with the groups whose policy is another one now. */
  onApplied: (changedGroups: ReadonlySet<string>) => void = () => {};
  /** Called with the name of a rate limit that this sidecar has no use for any more. */
  onLimitDropped: (name: string) => void = () => {};
  /** Whether calls wait for configuration: then a new snapshot must not wait for its turn. */
  isAwaited: () => boolean = () => false;
  /** Names that must not be forgotten although no call used them: those that connected clients have declared. */
  pinned: () => { readonly topics: Iterable<string>; readonly groups: Iterable<string> } = () => ({
    topics: [],
    groups: [],
  });

  constructor(
    channel: Client,
    settings: MeshConfigSettings,
    sinks: {
      readonly routes: RouteTable;
      readonly clusters: ClusterManager;
      readonly limits: LimitTable;
      readonly lastKnownGood: LastKnownGood;
    },
    deps: {
      readonly clock: Clock;
      readonly randomness: Randomness;
      readonly log: Log;
      readonly metrics: MetricRegistry;
    },
  ) {
    this.#settings = settings;
    this.#routes = sinks.routes;
    this.#manager = sinks.clusters;
    this.#lastKnownGood = sinks.lastKnownGood;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#downSinceMs = deps.clock.monotonicMs();
    this.#all = [this.clusters, this.endpoints, this.rateLimits, this.groups, this.topics, this.namespaces];
    this.#limits = new ReferencedLimits(this.rateLimits, [this.topics, this.groups, this.namespaces], sinks.limits);
    this.#limits.onDropped = (name) => {
      this.#lastKnownGood.remove(TypeUrl.RateLimit, name);
      this.onLimitDropped(name);
    };
    this.ads = new DeltaAdsClient(
      channel,
      settings.node,
      this.#all,
      {
        onReceived: (typeUrl, received) => this.#onReceived(typeUrl, received),
        onUp: () => this.#onUp(),
        onDown: () => this.#onDown(),
      },
      deps,
    );
    this.#defineMetrics(deps.metrics);
  }

  /** Loads what is on disk, then connects. Resolves when the disk was read. */
  async start(): Promise<void> {
    const saved = await this.#lastKnownGood.load();
    const nowMs = this.#clock.monotonicMs();
    for (const resource of saved) {
      const subscription = this.#all.find((candidate) => candidate.typeUrl === resource.typeUrl);
      subscription?.restore(resource.name, resource.version, resource.bytes, nowMs);
    }
    this.namespaces.want(this.#settings.defaultNamespace, nowMs);
    this.#clock.after(saved.length > 0 ? settleMs : 0, () => this.#publish());
    this.#sweepTimer = this.#clock.every(sweepPeriodMs, () => this.#sweep());
    this.ads.start();
  }

  async stop(): Promise<void> {
    this.ads.stop();
    this.#applyTimer?.cancel();
    this.#sweepTimer?.cancel();
    await this.#lastKnownGood.compact();
  }

  /** True once there is something to serve by: the control plane has answered, or the disk had a configuration. */
  get isInitialized(): boolean {
    return this.#hasBeenUp || (this.#isPublished && this.#lastKnownGood.count > 0);
  }

  /** How long the control plane has been away, in milliseconds; 0 while it is there. */
  get downMs(): number {
    return this.ads.isUp ? 0 : this.#clock.monotonicMs() - this.#downSinceMs;
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  wantTopic(name: string): void {
    this.#makeRoomForAbsent(this.topics);
    this.wantNamespace(namespaceOf(name));
    const entry = this.topics.want(name, this.#clock.monotonicMs());
    if (entry.value !== undefined) this.#wantClustersOf(entry.value);
    this.ads.flushSoon();
  }

  wantGroup(name: string): void {
    this.#makeRoomForAbsent(this.groups);
    this.wantNamespace(namespaceOf(name));
    this.groups.want(name, this.#clock.monotonicMs());
    this.ads.flushSoon();
  }

  /** What holds for a whole namespace must be known of every namespace that is used. */
  wantNamespace(name: string): void {
    this.#makeRoomForAbsent(this.namespaces);
    this.namespaces.want(name, this.#clock.monotonicMs());
    this.ads.flushSoon();
  }

  /** The broker group of a receipt. */
  wantBroker(brokerName: string): void {
    this.#makeRoomForAbsent(this.clusters);
    this.#wantCluster(clusterNameOf(brokerName));
    this.ads.flushSoon();
  }

  /** Whether the control plane has said all there is to say about a cluster. */
  isClusterKnown(name: string): boolean {
    const cluster = this.clusters.entries.get(name);
    if (cluster === undefined || cluster.state === "requested") return false;
    if (cluster.value === undefined) return true;
    const endpoints = this.endpoints.entries.get(name);
    return endpoints !== undefined && endpoints.state !== "requested";
  }

  /** The route although not all of its clusters are known; for callers who cannot wait any longer. */
  partialTopic(name: string): TopicRoute | undefined {
    const route = this.topics.entries.get(name)?.value;
    return route?.segments.some((segment) => this.#manager.home(segment.cluster) !== undefined) ? route : undefined;
  }

  #onReceived(typeUrl: string, received: Received<unknown>): void {
    const nowMs = this.#clock.monotonicMs();
    for (const entry of received.changed) {
      this.#condemned.delete(`${typeUrl} ${entry.name}`);
      if (typeUrl === TypeUrl.TopicRoute && entry.value !== undefined) this.#wantClustersOf(entry.value as TopicRoute);
      if (entry.state === "active") this.#save(typeUrl, entry);
      else this.#lastKnownGood.remove(typeUrl, entry.name);
    }
    const subscription = this.#all.find((candidate) => candidate.typeUrl === typeUrl);
    if (subscription !== undefined) {
      for (const entry of received.removed) this.#onRemoved(subscription, entry, nowMs);
    }
    if (received.changed.length + received.removed.length > 0) this.#applySoon();
  }

  /** Obeys at once what nobody uses; gives the rest a while, loudly. */
  #onRemoved(subscription: TypeSubscription<unknown>, entry: ResourceEntry<unknown>, nowMs: number): void {
    const key = `${subscription.typeUrl} ${entry.name}`;
    if (this.#condemned.has(key)) return;
    this.#noteUses(nowMs);
    const isAnnounced = subscription === this.topics && (entry.value as TopicRoute).writable.length === 0;
    const isInUse = nowMs - entry.usedMs < recentUseMs && !isAnnounced;
    const isRule = subscription === this.namespaces || subscription === this.rateLimits;
    if (!isInUse || this.#settings.removalGraceMs === 0 || isRule) {
      this.#obeyRemoval(subscription, entry.name, nowMs);
      return;
    }
    const untilMs = nowMs + this.#settings.removalGraceMs;
    this.#condemned.set(key, { untilMs, subscription });
    this.#log.warn(
      { typeUrl: subscription.typeUrl, name: entry.name, graceMs: this.#settings.removalGraceMs },
      "the control plane removed what traffic uses; serving it a while longer",
    );
    this.#clock.after(this.#settings.removalGraceMs, () => {
      if (this.#condemned.get(key)?.untilMs !== untilMs) return;
      this.#condemned.delete(key);
      this.#obeyRemoval(subscription, entry.name, this.#clock.monotonicMs());
      this.#applySoon();
    });
  }

  #obeyRemoval(subscription: TypeSubscription<unknown>, name: string, nowMs: number): void {
    subscription.obeyRemoval(name, nowMs);
    this.#lastKnownGood.remove(subscription.typeUrl, name);
  }

  #save(typeUrl: string, entry: ResourceEntry<unknown>): void {
    if (entry.bytes === undefined) return;
    const nowMs = this.#clock.wallMs();
    const { name, version, bytes } = entry;
    this.#lastKnownGood.put({ typeUrl, name, version, bytes, savedAtMs: nowMs, usedAtMs: nowMs });
  }

  #onUp(): void {
    this.#hasBeenUp = true;
    this.#clock.after(confirmMs, () => {
      if (!this.ads.isUp) return;
      for (const subscription of this.#all) subscription.confirmStale();
      this.#publish();
    });
  }

  #onDown(): void {
    if (this.#downSinceMs === 0 || this.#hasBeenUp) this.#downSinceMs = this.#clock.monotonicMs();
    // Absent names become unknown again when they are not trusted any more.
    this.#clock.after(absentTrustedMs + 1, () => this.#applySoon());
  }

  #wantClustersOf(route: TopicRoute): void {
    for (const segment of route.segments) this.#wantCluster(segment.cluster);
  }

  #wantCluster(name: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.clusters.want(name, nowMs);
    this.endpoints.want(name, nowMs);
  }

  #publish(): void {
    this.#isPublished = true;
    this.#applySoon();
  }

  #applySoon(): void {
    if (this.#applyTimer !== undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const refill = Math.floor((nowMs - this.#applyRefillMs) / applyPeriodMs);
    if (refill > 0) {
      this.#applyTokens = Math.min(applyBurst, this.#applyTokens + refill);
      this.#applyRefillMs = nowMs;
    }
    if (this.#applyTokens > 0 || this.isAwaited()) {
      this.#applyTokens = Math.max(0, this.#applyTokens - 1);
      this.#apply();
      return;
    }
    this.#applyTimer = this.#clock.after(applyPeriodMs, () => {
      this.#applyTimer = undefined;
      this.#applySoon();
    });
  }

  /** Builds and publishes the snapshot that follows from all entries. */
  #apply(): void {
    if (!this.#isPublished && !this.ads.isUp) return;
    const nowMs = this.#clock.monotonicMs();
    this.#applyClusters();
    if (this.#limits.apply(nowMs)) this.ads.flushSoon();
    const policiesBefore = new Map([...this.#groupsInForce].map(([name, { value }]) => [name, value]));
    this.#routes.replace({
      topics: this.#lookups(this.topics, this.#routesInForce, nowMs, (route, entry) => {
        if (route.segments.every((segment) => this.isClusterKnown(segment.cluster))) return true;
        const waitedMs = nowMs - entry.answeredMs;
        if (waitedMs >= closureMsMax) return this.partialTopic(entry.name) !== undefined;
        this.#clock.after(Math.ceil(closureMsMax - waitedMs), () => this.#applySoon());
        return false;
      }),
      groups: this.#lookups(this.groups, this.#groupsInForce, nowMs, () => true),
      namespaces: this.#lookups(this.namespaces, this.#namespacesInForce, nowMs, () => true),
    });
    const changedGroups = new Set<string>();
    for (const [name, { value }] of this.#groupsInForce) {
      if (policiesBefore.has(name) && policiesBefore.get(name) !== value) changedGroups.add(name);
    }
    this.onApplied(changedGroups);
  }

  #lookups<T>(
    subscription: TypeSubscription<T>,
    inForce: Map<string, Present<T>>,
    nowMs: number,
    isReady: (value: T, entry: ResourceEntry<T>) => boolean,
  ): ReadonlyMap<string, Lookup<T>> {
    const lookups = new Map<string, Lookup<T>>();
    const isAbsentTrusted = this.ads.isUp || nowMs - this.#downSinceMs < absentTrustedMs;
    for (const entry of subscription.entries.values()) {
      let present = inForce.get(entry.name);
      if (entry.value === undefined) {
        inForce.delete(entry.name);
        if (entry.state === "absent" && isAbsentTrusted) lookups.set(entry.name, absent);
        if (entry.state === "error") lookups.set(entry.name, { kind: "refused", reason: entry.reason });
        continue;
      }
      if (present?.value !== entry.value && isReady(entry.value, entry)) {
        present = { kind: "present", value: entry.value, wasUsed: present?.wasUsed ?? false };
        inForce.set(entry.name, present);
      }
      if (present !== undefined) lookups.set(entry.name, present);
    }
    for (const name of inForce.keys()) if (!subscription.entries.has(name)) inForce.delete(name);
    return lookups;
  }

  #applyClusters(): void {
    for (const [name, entry] of this.endpoints.entries) {
      const cluster = this.clusters.entries.get(name);
      if (entry.value === undefined || (cluster?.value === undefined && cluster?.state === "absent")) continue;
      const before = this.#endpointsInForce.get(name);
      if (before === entry.value) continue;
      // A lapsed lease does not take away a broker that answers: the connection knows better.
      if (entry.value.length === 0 && this.#manager.home(name)?.upstream.isReady === true) continue;
      this.#endpointsInForce.set(name, entry.value);
      this.#manager.apply({ name, endpoints: entry.value });
    }
    for (const name of this.#endpointsInForce.keys()) {
      const isKnown = this.endpoints.entries.get(name)?.value !== undefined;
      const isGone = this.clusters.entries.get(name)?.value === undefined;
      if (isKnown && !isGone) continue;
      if (this.#manager.home(name)?.upstream.isReady === true && this.clusters.entries.has(name)) continue;
      this.#endpointsInForce.delete(name);
      this.#manager.remove(name);
    }
  }

  /** Moves the marks that look-ups left in the snapshot into the entries. */
  #noteUses(nowMs: number): void {
    noteUses(this.topics, this.#routesInForce, nowMs);
    noteUses(this.groups, this.#groupsInForce, nowMs);
    const pinned = this.pinned();
    for (const name of pinned.topics) touch(this.topics, name, nowMs);
    for (const name of pinned.groups) touch(this.groups, name, nowMs);
    for (const entry of this.topics.entries.values()) {
      for (const segment of entry.value?.segments ?? []) {
        touch(this.clusters, segment.cluster, nowMs);
        touch(this.endpoints, segment.cluster, nowMs);
      }
    }
  }

  /** Forgets what nobody has used for long, and looks again at what was kept against the control plane's word. */
  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#noteUses(nowMs);
    const namespaces = new Set([this.#settings.defaultNamespace]);
    for (const { entries } of [this.topics, this.groups]) {
      for (const name of entries.keys()) namespaces.add(namespaceOf(name));
    }
    for (const subscription of this.#all) {
      // Limits go with what names them.
      if (subscription === this.rateLimits) continue;
      for (const entry of [...subscription.entries.values()]) {
        const idleMs = nowMs - entry.usedMs;
        if (entry.value === undefined ? idleMs < absentIdleMs : idleMs < this.#idleMsMax(subscription)) {
          if (entry.value !== undefined && idleMs < sweepPeriodMs) {
            this.#lastKnownGood.noteUse(subscription.typeUrl, entry.name);
          }
          continue;
        }
        if (subscription === this.namespaces && namespaces.has(entry.name)) continue;
        subscription.drop(entry.name);
        this.#lastKnownGood.remove(subscription.typeUrl, entry.name);
      }
    }
    this.ads.flushSoon();
    this.#applySoon();
    void this.#lastKnownGood.compact();
  }

  #idleMsMax(subscription: TypeSubscription<unknown>): number {
    if (subscription === this.topics) return topicIdleMs;
    if (subscription === this.groups || subscription === this.namespaces) return groupIdleMs;
    return clusterIdleMs;
  }

  /** Bounds what a scanner or a typo in a loop can make this sidecar remember. */
  #makeRoomForAbsent(subscription: TypeSubscription<unknown>): void {
    if (subscription.entries.size < absentMax) return;
    let oldest: ResourceEntry<unknown> | undefined;
    let count = 0;
    for (const entry of subscription.entries.values()) {
      if (entry.value !== undefined) continue;
      count++;
      if (oldest === undefined || entry.usedMs < oldest.usedMs) oldest = entry;
    }
    if (count >= absentMax && oldest !== undefined) subscription.drop(oldest.name);
  }

  #defineMetrics(metrics: MetricRegistry): void {
    metrics.gaugeOf("popmesh_sidecar_xds_connected", "1 while the control plane answers.", () =>
      this.ads.isUp ? 1 : 0,
    );
    metrics.gaugeOf(
      "popmesh_sidecar_xds_down_seconds",
      "How long the control plane has been away; the age of what is served.",
      () => this.downMs / 1000,
    );
    metrics.gaugeOf("popmesh_sidecar_xds_nacks", "Responses refused.", () => this.ads.nacks);
    metrics.gaugeOf("popmesh_sidecar_xds_streams", "Streams opened since the start.", () => this.ads.streamsOpened);
    for (const subscription of this.#all) {
      const type = subscription.typeUrl.slice(subscription.typeUrl.lastIndexOf(".") + 1);
      metrics.gaugeOf("popmesh_sidecar_xds_resources", "Names of interest.", () => subscription.entries.size, { type });
    }
  }
}

function noteUses<T>(subscription: TypeSubscription<T>, inForce: Map<string, Present<T>>, nowMs: number): void {
  for (const [name, present] of inForce) {
    if (!present.wasUsed) continue;
    present.wasUsed = false;
    touch(subscription, name, nowMs);
  }
}

function touch(subscription: TypeSubscription<unknown>, name: string, nowMs: number): void {
  const entry = subscription.entries.get(name);
  if (entry !== undefined) entry.usedMs = nowMs;
}

/** Of "<namespace>/<name>". */
function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}
