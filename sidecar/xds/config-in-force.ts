import type { ClusterManager } from "../cluster/cluster-manager.ts";
import type { EndpointSnapshot } from "../cluster/cluster-snapshot.ts";
import { absent, type Lookup, type Present, type RouteTable } from "../route/route-table.ts";
import type { GroupPolicy, NamespacePolicy, TopicRoute } from "../route/topic-route.ts";
import type { ClusterDefinition } from "./cluster-resource.ts";
import type { ResourceEntry, TypeSubscription } from "./type-subscription.ts";

/** What is known of each name; see `MeshConfig`. */
export interface KnownConfig {
  readonly topics: TypeSubscription<TopicRoute>;
  readonly groups: TypeSubscription<GroupPolicy>;
  readonly namespaces: TypeSubscription<NamespacePolicy>;
  readonly clusters: TypeSubscription<ClusterDefinition>;
  readonly endpoints: TypeSubscription<readonly EndpointSnapshot[]>;
}

/** A route waits this long for the clusters it refers to before it comes into force with those that are known. */
const closureMsMax = 2_000;

/**
 * What the data path serves by, made of what is known: a new version of a route replaces the old one when all it refers to is
 * known, and a broker that answers is not taken away by the word of others.
 */
export class ConfigInForce {
  readonly #known: KnownConfig;
  readonly #table: RouteTable;
  readonly #manager: ClusterManager;
  readonly #lookAgainIn: (ms: number) => void;
  readonly #topics = new Map<string, Present<TopicRoute>>();
  readonly #groups = new Map<string, Present<GroupPolicy>>();
  readonly #namespaces = new Map<string, Present<NamespacePolicy>>();
  readonly #endpoints = new Map<string, readonly EndpointSnapshot[]>();

  /** `lookAgainIn` is told when something comes into force by the mere passing of time: `applyRoutes` is due then. */
  constructor(known: KnownConfig, table: RouteTable, manager: ClusterManager, lookAgainIn: (ms: number) => void) {
    this.#known = known;
    this.#table = table;
    this.#manager = manager;
    this.#lookAgainIn = lookAgainIn;
  }

  /** Clusters and their brokers, as far as they are known. */
  applyClusters(): void {
    const { clusters, endpoints } = this.#known;
    for (const [name, entry] of endpoints.entries) {
      const cluster = clusters.entries.get(name);
      if (entry.value === undefined || (cluster?.value === undefined && cluster?.state === "absent")) continue;
      const before = this.#endpoints.get(name);
      if (before === entry.value) continue;
      // A lapsed lease does not take away a broker that answers: the connection knows better.
      if (entry.value.length === 0 && this.#manager.home(name)?.upstream.isReady === true) continue;
      this.#endpoints.set(name, entry.value);
      this.#manager.apply({ name, endpoints: entry.value });
    }
    for (const name of this.#endpoints.keys()) {
      const isKnown = endpoints.entries.get(name)?.value !== undefined;
      const isGone = clusters.entries.get(name)?.value === undefined;
      if (isKnown && !isGone) continue;
      if (this.#manager.home(name)?.upstream.isReady === true && clusters.entries.has(name)) continue;
      this.#endpoints.delete(name);
      this.#manager.remove(name);
    }
  }

  /**
   * Topics, groups and namespaces, as one snapshot. `isAbsentTrusted`: "does not exist" is still believed. Returns the groups whose
   * policy is another one now.
   */
  applyRoutes(nowMs: number, isAbsentTrusted: boolean): ReadonlySet<string> {
    const { topics, groups, namespaces } = this.#known;
    const policiesBefore = new Map([...this.#groups].map(([name, { value }]) => [name, value]));
    this.#table.replace({
      topics: lookupsOf(topics, this.#topics, isAbsentTrusted, (route, entry) => this.#isReady(route, entry, nowMs)),
      groups: lookupsOf(groups, this.#groups, isAbsentTrusted, () => true),
      namespaces: lookupsOf(namespaces, this.#namespaces, isAbsentTrusted, () => true),
    });
    const changedGroups = new Set<string>();
    for (const [name, { value }] of this.#groups) {
      if (policiesBefore.has(name) && policiesBefore.get(name) !== value) changedGroups.add(name);
    }
    return changedGroups;
  }

  #isReady(route: TopicRoute, { name, answeredMs }: ResourceEntry<TopicRoute>, nowMs: number): boolean {
    if (route.segments.every((segment) => this.isClusterKnown(segment.cluster))) return true;
    const waitedMs = nowMs - answeredMs;
    if (waitedMs >= closureMsMax) return this.partialTopic(name) !== undefined;
    this.#lookAgainIn(Math.ceil(closureMsMax - waitedMs));
    return false;
  }

  /** Whether the control plane has said all there is to say about a cluster. */
  isClusterKnown(name: string): boolean {
    const cluster = this.#known.clusters.entries.get(name);
    if (cluster === undefined || cluster.state === "requested") return false;
    if (cluster.value === undefined) return true;
    const endpoints = this.#known.endpoints.entries.get(name);
    return endpoints !== undefined && endpoints.state !== "requested";
  }

  /** The route although not all of its clusters are known; for callers who cannot wait any longer. */
  partialTopic(name: string): TopicRoute | undefined {
    const route = this.#known.topics.entries.get(name)?.value;
    return route?.segments.some((segment) => this.#manager.home(segment.cluster) !== undefined) ? route : undefined;
  }

  /** Moves the marks that look-ups left in the snapshot into the entries. */
  noteUses(nowMs: number): void {
    noteUses(this.#known.topics, this.#topics, nowMs);
    noteUses(this.#known.groups, this.#groups, nowMs);
  }
}

/** What look-ups find from now on; `inForce` is brought up to date. */
function lookupsOf<T>(
  subscription: TypeSubscription<T>,
  inForce: Map<string, Present<T>>,
  isAbsentTrusted: boolean,
  isReady: (value: T, entry: ResourceEntry<T>) => boolean,
): ReadonlyMap<string, Lookup<T>> {
  const lookups = new Map<string, Lookup<T>>();
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

function noteUses<T>(subscription: TypeSubscription<T>, inForce: Map<string, Present<T>>, nowMs: number): void {
  for (const [name, present] of inForce) {
    if (!present.wasUsed) continue;
    present.wasUsed = false;
    subscription.touch(name, nowMs);
  }
}
