import type { Catalog } from "../catalog/catalog.ts";
import type { CatalogChange } from "../catalog/catalog-table.ts";
import type { BrokerRecord } from "../resource/broker.ts";
import { clusterNameOf } from "../resource/broker.ts";
import { buildListener, buildRouteConfiguration } from "./build-client-resource.ts";
import {
  buildCluster,
  buildEndpoints,
  buildGroupPolicy,
  buildNamespacePolicy,
  buildTopicRoute,
} from "./build-resource.ts";
import type { ResourceTable } from "./resource-table.ts";
import { ResourceType } from "./resource-type.ts";

/** Types that have one resource named like the Cluster of a broker group. */
const typesOfCluster = [ResourceType.Cluster, ResourceType.Endpoints, ResourceType.RouteConfiguration];

/** Keeps the resource table in step with the catalog: a changed record re-encodes the one resource made of it. */
export class SnapshotPublisher {
  readonly #table: ResourceTable;
  readonly #isAlive: (brokerName: string) => boolean;

  /** Publishes all that is in `catalog` now, and what changes from now on. `isAlive` tells a broker's lease. */
  constructor(catalog: Catalog, table: ResourceTable, isAlive: (brokerName: string) => boolean) {
    this.#table = table;
    this.#isAlive = isAlive;
    for (const broker of catalog.tables.broker.values()) this.#publishBroker(broker);
    for (const namespace of catalog.tables.namespace.values()) table.put(buildNamespacePolicy(namespace));
    for (const group of catalog.tables.group.values()) table.put(buildGroupPolicy(group));
    for (const topic of catalog.tables.topic.values()) table.put(buildTopicRoute(topic));
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
        if (change.record === undefined) table.delete(ResourceType.TopicRoute, change.key);
        else table.put(buildTopicRoute(change.record));
        return;
      case "group":
        if (change.record === undefined) table.delete(ResourceType.GroupPolicy, change.key);
        else table.put(buildGroupPolicy(change.record));
        return;
      case "namespace":
        if (change.record === undefined) table.delete(ResourceType.NamespacePolicy, change.key);
        else table.put(buildNamespacePolicy(change.record));
        return;
      case "broker":
        if (change.record === undefined) {
          table.delete(ResourceType.Listener, change.key);
          for (const typeUrl of typesOfCluster) table.delete(typeUrl, clusterNameOf(change.key));
        } else this.#publishBroker(change.record);
        return;
      // Lane rules go to the brokers (operation/lane-publisher.ts).
      case "laneRule":
      case "laneVersion":
      case "counter":
        return;
    }
  }

  #publishBroker(broker: BrokerRecord): void {
    this.#table.put(buildCluster(broker.name));
    this.#table.put(buildListener(broker.name));
    this.#table.put(buildRouteConfiguration(broker.name));
    this.publishEndpoints(broker);
  }
}
