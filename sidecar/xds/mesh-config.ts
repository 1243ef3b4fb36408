import type { Client } from "@grpc/grpc-js";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { ClusterManager } from "../cluster/cluster-manager.ts";
import { clusterNameOf, type EndpointSnapshot } from "../cluster/cluster-snapshot.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import type { RateLimit } from "../limit/rate-limit.ts";
import type { RouteTable } from "../route/route-table.ts";
import type { GroupPolicy, NamespacePolicy, TopicRoute } from "../route/topic-route.ts";
import { type ClusterDefinition, decodeCluster, decodeEndpoints } from "./cluster-resource.ts";
import { ConfigInForce } from "./config-in-force.ts";
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
  readonly #limits: ReferencedLimits;
  readonly #lastKnownGood: LastKnownGood;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #inForce: ConfigInForce;
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
    this.#lastKnownGood = sinks.lastKnownGood;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#downSinceMs = deps.clock.monotonicMs();
    this.#inForce = new ConfigInForce(this, sinks.routes, sinks.clusters, (ms) =>
      this.#clock.after(ms, () => this.#applySoon()),
    );
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
    return this.#inForce.isClusterKnown(name);
  }

  /** The route although not all of its clusters are known; for callers who cannot wait any longer. */
  partialTopic(name: string): TopicRoute | undefined {
    return this.#inForce.partialTopic(name);
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
    this.#inForce.applyClusters();
    if (this.#limits.apply(nowMs)) this.ads.flushSoon();
    const isAbsentTrusted = this.ads.isUp || nowMs - this.#downSinceMs < absentTrustedMs;
    this.onApplied(this.#inForce.applyRoutes(nowMs, isAbsentTrusted));
  }

  /** Moves the marks that look-ups left in the snapshot into the entries. */
  #noteUses(nowMs: number): void {
    this.#inForce.noteUses(nowMs);
    const pinned = this.pinned();
    for (const name of pinned.topics) this.topics.touch(name, nowMs);
    for (const name of pinned.groups) this.groups.touch(name, nowMs);
    for (const entry of this.topics.entries.values()) {
      for (const segment of entry.value?.segments ?? []) {
        this.clusters.touch(segment.cluster, nowMs);
        this.endpoints.touch(segment.cluster, nowMs);
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

/** Of "<namespace>/<name>". */
function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}
