import type { Catalog } from "../catalog/catalog.ts";
import type { CatalogChange } from "../catalog/catalog-table.ts";
import type { BrokerRecord } from "../resource/broker.ts";
import { clusterNameOf } from "../resource/broker.ts";
import type { ConsumerGroupRecord } from "../resource/consumer-group.ts";
import { defaultLimitOf, limitName } from "../resource/default-limit.ts";
import type { NamespaceRecord } from "../resource/namespace.ts";
import type { TopicRecord } from "../resource/topic.ts";
import { buildListener, buildRouteConfiguration } from "./build-client-resource.ts";
import {
  buildCluster,
  buildEndpoints,
  buildGroupPolicy,
  buildNamespacePolicy,
  buildRateLimit,
  buildTopicRoute,
} from "./build-resource.ts";
import { type LimitOwner, RateLimitReferences } from "./rate-limit-references.ts";
import type { ResourceTable } from "./resource-table.ts";
import { ResourceType } from "./resource-type.ts";

/** Types that have one resource named like the Cluster of a broker group. */
const typesOfCluster = [ResourceType.Cluster, ResourceType.Endpoints, ResourceType.RouteConfiguration];

/** Keeps the resource table in step with the catalog: a changed record re-encodes the one resource made of it. */
export class SnapshotPublisher {
  readonly #table: ResourceTable;
  /** As they were published last. The catalog may be ahead of the disk, and only what is on disk is pushed. */
  readonly #topics: Map<string, TopicRecord>;
  readonly #groups: Map<string, ConsumerGroupRecord>;
  readonly #namespaces: Map<string, NamespaceRecord>;
  readonly #isAlive: (brokerName: string) => boolean;
  readonly #limits = new RateLimitReferences();
  /** Names of the default limits that are published, by kind and key of what they are for. */
  readonly #defaults = new Map<string, string>();

  /** Publishes all that is in `catalog` now, and what changes from now on. `isAlive` tells a broker's lease. */
  constructor(catalog: Catalog, table: ResourceTable, isAlive: (brokerName: string) => boolean) {
    const { topic, group, namespace } = catalog.tables;
    this.#topics = new Map(topic);
    this.#groups = new Map(group);
    this.#namespaces = new Map(namespace);
    this.#table = table;
    this.#isAlive = isAlive;
    for (const broker of catalog.tables.broker.values()) this.#publishBroker(broker);
    for (const [key, limit] of catalog.tables.rateLimit) {
      this.#limits.set(key, limit);
      table.put(buildRateLimit(limit));
    }
    for (const kind of ["namespace", "group", "topic"] as const) {
      for (const key of catalog.tables[kind].keys()) this.#publishOwner({ kind, key });
    }
    catalog.onChange((changes) => {
      for (const change of changes) this.#publish(change);
    });
  }

  /** Call when a broker's lease lapsed or came back. */
  publishEndpoints(broker: BrokerRecord): void {
    this.#table.put(buildEndpoints(broker, this.#isAlive(broker.name)));
  }

  #publish(change: CatalogChange): void {
    const table = this.#table;
    switch (change.kind) {
      case "topic":
        put(this.#topics, change.key, change.record);
        this.#publishOwner(change);
        return;
      case "group":
        put(this.#groups, change.key, change.record);
        this.#publishOwner(change);
        return;
      case "namespace":
        this.#changeNamespace(change.key, change.record);
        return;
      case "rateLimit":
        if (change.record === undefined) table.delete(ResourceType.RateLimit, change.key);
        else table.put(buildRateLimit(change.record));
        for (const owner of this.#limits.set(change.key, change.record)) this.#publishOwner(owner);
        return;
      case "broker":
        if (change.record === undefined) {
          table.delete(ResourceType.Listener, change.key);
          for (const typeUrl of typesOfCluster) table.delete(typeUrl, clusterNameOf(change.key));
        } else this.#publishBroker(change.record);
        return;
      // Lane rules go to the brokers (operation/lane-publisher.ts), rollouts change rules.
      case "laneRule":
      case "laneVersion":
      case "rateLimitVersion":
      case "namespaceVersion":
      case "rollout":
      case "rolloutState":
      case "counter":
        return;
    }
  }

  /** Encodes a topic, group or namespace with the limits that are for it. */
  #publishOwner({ kind, key }: LimitOwner): void {
    const limits = this.#limitsOf({ kind, key });
    switch (kind) {
      case "topic": {
        const topic = this.#topics.get(key);
        if (topic === undefined) this.#table.delete(ResourceType.TopicRoute, key);
        else this.#table.put(buildTopicRoute(topic, limits, this.#maxMessageBytes(topic.namespace)));
        return;
      }
      case "group": {
        const group = this.#groups.get(key);
        if (group === undefined) this.#table.delete(ResourceType.GroupPolicy, key);
        else this.#table.put(buildGroupPolicy(group, limits));
        return;
      }
      case "namespace": {
        const namespace = this.#namespaces.get(key);
        if (namespace === undefined) this.#table.delete(ResourceType.NamespacePolicy, key);
        else this.#table.put(buildNamespacePolicy(namespace, limits));
        return;
      }
    }
  }

  /** What topics say of their namespace changes with it. */
  #changeNamespace(name: string, record: NamespaceRecord | undefined): void {
    const before = this.#namespaces.get(name);
    put(this.#namespaces, name, record);
    this.#publishOwner({ kind: "namespace", key: name });
    if (before?.maxMessageBytes !== record?.maxMessageBytes || before?.topicSends !== record?.topicSends) {
      for (const [key, topic] of this.#topics) if (topic.namespace === name) this.#publishOwner({ kind: "topic", key });
    }
    if (before?.groupReceives === record?.groupReceives) return;
    for (const [key, group] of this.#groups) if (group.namespace === name) this.#publishOwner({ kind: "group", key });
  }

  /** Names of the limits of a resource; where it has none of its own, the default one of its namespace is there too. */
  #limitsOf({ kind, key }: LimitOwner): readonly string[] {
    const limits = this.#limits.of(kind, key);
    if (kind === "namespace") return limits;
    const record = kind === "topic" ? this.#topics.get(key) : this.#groups.get(key);
    const namespace = record && this.#namespaces.get(record.namespace);
    const isDue = record !== undefined && namespace !== undefined && !this.#limits.hasOwn(kind, key);
    const limit = isDue ? defaultLimitOf(namespace, kind, record.name) : undefined;
    const before = this.#defaults.get(`${kind} ${key}`);
    if (limit === undefined) {
      if (before !== undefined) this.#table.delete(ResourceType.RateLimit, before);
      this.#defaults.delete(`${kind} ${key}`);
      return limits;
    }
    this.#table.put(buildRateLimit(limit));
    this.#defaults.set(`${kind} ${key}`, limitName(limit));
    return [limitName(limit), ...limits];
  }

  #maxMessageBytes(namespace: string): number {
    return this.#namespaces.get(namespace)?.maxMessageBytes ?? 0;
  }

  #publishBroker(broker: BrokerRecord): void {
    this.#table.put(buildCluster(broker.name));
    this.#table.put(buildListener(broker.name));
    this.#table.put(buildRouteConfiguration(broker.name));
    this.publishEndpoints(broker);
  }
}

function put<R>(table: Map<string, R>, key: string, record: R | undefined): void {
  if (record === undefined) table.delete(key);
  else table.set(key, record);
}
