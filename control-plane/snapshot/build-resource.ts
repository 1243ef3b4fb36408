import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { qualifiedName } from "../../proto/resource-name.ts";
import { type BrokerRecord, clusterNameOf } from "../resource/broker.ts";
import type { ConsumerGroupRecord } from "../resource/consumer-group.ts";
import type { NamespaceRecord } from "../resource/namespace.ts";
import type { RateLimitRecord } from "../resource/rate-limit.ts";
import { messageTypesOf, type TopicRecord, type TopicState } from "../resource/topic.ts";
import { ResourceEntry } from "./resource-table.ts";
import { ResourceType } from "./resource-type.ts";

/** Numbers of enum popmesh.v1.TopicState. */
const stateNumber: Readonly<Record<TopicState, popmesh.v1.TopicState>> = { active: 1, readOnly: 2, draining: 3 };

/** Numbers of enum popmesh.v1.LimitDirection. */
const sendDirection = 1;
const receiveDirection = 2;

/** Numbers of the Envoy enums HealthStatus, DiscoveryType, LbPolicy and ApiVersion. */
const HealthStatus = { Healthy: 1, Unhealthy: 2, Draining: 3, Degraded: 5 } as const;
const edsDiscovery = 3;
const roundRobin = 0;
const apiV3 = 2;

/**
 * What a topic is on xDS. While no broker group holds it, it is READ_ONLY without segments: it exists, and takes nothing.
 * `rateLimits`: names of those that are for this topic; `maxMessageBytes`: what its namespace says, 0 for nothing.
 */
export function buildTopicRoute(
  topic: TopicRecord,
  rateLimits: readonly string[],
  maxMessageBytes: number,
): ResourceEntry {
  const name = qualifiedName(topic.namespace, topic.name);
  const clusters = topic.placement.map(clusterNameOf);
  const { groupSpread, closed = [] } = topic;
  const bytes = popmesh.v1.TopicRoute.encode({
    name,
    incarnation: topic.incarnation,
    messageTypes: messageTypesOf(topic.type),
    segment: topic.placement.map((broker) => ({
      cluster: clusterNameOf(broker),
      queueCount: topic.queues,
      readable: true,
      writable: topic.state === "active" && !closed.includes(broker),
    })),
    rateLimits: [...rateLimits],
    maxMessageBytes,
    ...(groupSpread === undefined
      ? {}
      : {
          groupSpread: {
            number: groupSpread.number,
            set: groupSpread.sets.map((broker) => ({ broker: [...broker] })),
            gone: [...groupSpread.gone],
          },
          // A sidecar that does not know the sets would spread message groups over other brokers than the rest.
          requiredFeatures: ["group-spread"],
        }),
    state: clusters.length === 0 ? stateNumber.readOnly : stateNumber[topic.state],
  }).finish();
  return new ResourceEntry(ResourceType.TopicRoute, name, bytes, clusters);
}

/** `rateLimits`: names of those that are for this group and no topic. */
export function buildGroupPolicy(group: ConsumerGroupRecord, rateLimits: readonly string[]): ResourceEntry {
  const name = qualifiedName(group.namespace, group.name);
  const { backoff } = group;
  const bytes = popmesh.v1.ConsumerGroupPolicy.encode({
    name,
    generation: group.generation,
    attemptsMax: group.attemptsMax,
    backoff:
      backoff.kind === "list"
        ? { delayMs: [...backoff.delaysMs] }
        : { initialMs: backoff.initialMs, maxMs: backoff.maxMs, multiplier: backoff.multiplier },
    inflightMax: group.inflightMax,
    receiveBatchSize: group.receiveBatchSize,
    longPollingMs: group.longPollingMs,
    rateLimits: [...rateLimits],
    // A sidecar that does not know what that is would let the instances share the messages.
    ...(group.deliveryMode === "broadcast"
      ? { broadcast: true, instanceExpiryMs: group.instanceExpiryMs, requiredFeatures: ["broadcast"] }
      : {}),
  }).finish();
  return new ResourceEntry(ResourceType.GroupPolicy, name, bytes);
}

/** `rateLimits`: names of those that are for no topic and no group. */
export function buildNamespacePolicy(namespace: NamespaceRecord, rateLimits: readonly string[]): ResourceEntry {
  const { name, autoCreateTopics, autoCreateGroups } = namespace;
  const policy = { name, autoCreateTopics, autoCreateGroups, rateLimits: [...rateLimits] };
  const bytes = popmesh.v1.NamespacePolicy.encode(policy).finish();
  return new ResourceEntry(ResourceType.NamespacePolicy, name, bytes);
}

export function buildRateLimit(limit: RateLimitRecord): ResourceEntry {
  const name = qualifiedName(limit.namespace, limit.name);
  const { generation, topic, group, client, messagesPerSecond, bytesPerSecond, burstMs } = limit;
  const bytes = popmesh.v1.RateLimit.encode({
    ...{ name, generation, topic, group, client, messagesPerSecond, bytesPerSecond, burstMs },
    direction: limit.direction === "send" ? sendDirection : receiveDirection,
  }).finish();
  return new ResourceEntry(ResourceType.RateLimit, name, bytes);
}

/** A broker group is a Cluster whose endpoints come over the same stream. The policy is one that every gRPC client knows. */
export function buildCluster(brokerName: string): ResourceEntry {
  const name = clusterNameOf(brokerName);
  const bytes = envoy.config.cluster.v3.Cluster.encode({
    name,
    type: edsDiscovery,
    edsClusterConfig: { edsConfig: { ads: {}, resourceApiVersion: apiV3 } },
    connectTimeout: { seconds: 5 },
    lbPolicy: roundRobin,
  }).finish();
  return new ResourceEntry(ResourceType.Cluster, name, bytes);
}

/**
 * The endpoints of a broker group. A broker whose lease lapsed stays, as UNHEALTHY: it may come back at the same address, and
 * receipts lead there. One that takes no messages (its disk is full) is DEGRADED: it hands out and takes acks. Locality and
 * weights are set because gRPC clients send nothing to an endpoint without them.
 */
export function buildEndpoints(broker: BrokerRecord, isAlive: boolean): ResourceEntry {
  const clusterName = clusterNameOf(broker.name);
  const weight = { value: 1 };
  const endpoint = {
    endpoint: { address: { socketAddress: { address: broker.host, portValue: broker.port } } },
    healthStatus: healthOf(broker, isAlive),
    loadBalancingWeight: weight,
  };
  const bytes = envoy.config.endpoint.v3.ClusterLoadAssignment.encode({
    clusterName,
    endpoints:
      broker.state === "stopped" ? [] : [{ locality: {}, loadBalancingWeight: weight, lbEndpoints: [endpoint] }],
  }).finish();
  return new ResourceEntry(ResourceType.Endpoints, clusterName, bytes);
}

function healthOf(broker: BrokerRecord, isAlive: boolean): number {
  if (!isAlive) return HealthStatus.Unhealthy;
  if (broker.state === "draining") return HealthStatus.Draining;
  return broker.writable ? HealthStatus.Healthy : HealthStatus.Degraded;
}
