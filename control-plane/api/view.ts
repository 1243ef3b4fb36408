import type { ReadonlyCatalogTables } from "../catalog/catalog-table.ts";
import type { NamespaceUsage } from "../catalog/namespace-usage.ts";
import type { BrokerRecord } from "../resource/broker.ts";
import { type Backoff, type ConsumerGroupRecord, consumerGroupDefaults } from "../resource/consumer-group.ts";
import { sizeText } from "../resource/manifest-size.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { type DefaultLimit, type NamespaceRecord, type NamespaceSpec, namespaceSpecOf } from "../resource/namespace.ts";
import type { TopicRecord } from "../resource/topic.ts";

/** What the API answers: a manifest that could be applied again, and a status that only the control plane writes. */
export interface ResourceView {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>>;
}

export function topicView(topic: TopicRecord): ResourceView {
  const { namespace, name, type, queues, state, brokers, ...rest } = topic;
  const { incarnation, generation, placement, createdMs, createdBy } = rest;
  return {
    apiVersion: manifestApiVersion,
    kind: "Topic",
    metadata: { namespace, name },
    spec: { type, queues, state, ...(brokers === undefined ? {} : { brokers }) },
    status: { incarnation, generation, brokers: placement, createdAt: isoTime(createdMs), createdBy },
  };
}

export function groupView(group: ConsumerGroupRecord): ResourceView {
  const { namespace, name, attemptsMax, backoff, inflightMax, receiveBatchSize, longPollingMs } = group;
  const { deliveryMode, instanceExpiryMs } = { ...consumerGroupDefaults, ...group };
  return {
    apiVersion: manifestApiVersion,
    kind: "ConsumerGroup",
    metadata: { namespace, name },
    spec: {
      attemptsMax,
      backoff: backoffView(backoff),
      inflightMax,
      receiveBatchSize,
      longPolling: durationText(longPollingMs),
      deliveryMode,
      ...(deliveryMode === "broadcast" ? { instanceExpiry: durationText(instanceExpiryMs) } : {}),
    },
    status: { generation: group.generation, createdAt: isoTime(group.createdMs), createdBy: group.createdBy },
  };
}

/** `usage`: what it holds of what its quotas count. */
export function namespaceView(namespace: NamespaceRecord, usage: NamespaceUsage): ResourceView {
  return {
    apiVersion: manifestApiVersion,
    kind: "Namespace",
    metadata: { name: namespace.name },
    spec: namespaceSpecView(namespace),
    status: { generation: namespace.generation, holds: usage },
  };
}

/** A spec as people write it. */
export function namespaceSpecView(spec: NamespaceSpec): ResourceView["spec"] {
  const { autoCreateTopics, autoCreateGroups, topicsMax, groupsMax, queuesMax, maxMessageBytes, ...defaults } =
    namespaceSpecOf(spec);
  const { topicSends, groupReceives } = defaults;
  const defaultLimits = {
    ...(topicSends === null ? {} : { topicSends: ratesView(topicSends) }),
    ...(groupReceives === null ? {} : { groupReceives: ratesView(groupReceives) }),
  };
  const quotas = {
    ...(topicsMax === 0 ? {} : { topics: topicsMax }),
    ...(groupsMax === 0 ? {} : { groups: groupsMax }),
    ...(queuesMax === 0 ? {} : { queues: queuesMax }),
  };
  return {
    autoCreateTopics,
    autoCreateGroups,
    ...(Object.keys(quotas).length === 0 ? {} : { quotas }),
    ...(maxMessageBytes === 0 ? {} : { maxMessageSize: sizeText(maxMessageBytes) }),
    ...(Object.keys(defaultLimits).length === 0 ? {} : { defaultLimits }),
  };
}

/** Rates of a limit as people write them. */
export function ratesView({ messagesPerSecond, bytesPerSecond, burstMs }: DefaultLimit): object {
  return {
    ...(messagesPerSecond === 0 ? {} : { messagesPerSecond }),
    ...(bytesPerSecond === 0 ? {} : { bytesPerSecond }),
    burst: durationText(burstMs),
  };
}

/** `isAlive` tells the broker's lease. */
export function brokerView(broker: BrokerRecord, isAlive: boolean, tables: ReadonlyCatalogTables): ResourceView {
  let topics = 0;
  for (const topic of tables.topic.values()) if (topic.placement.includes(broker.name)) topics++;
  return {
    apiVersion: manifestApiVersion,
    kind: "Broker",
    metadata: { name: broker.name },
    spec: {},
    status: {
      address: `${broker.host}:${broker.port}`,
      state: isAlive ? broker.state : "unreachable",
      ...(broker.drain === undefined ? {} : { drain: broker.drain.isDone ? "drained" : "draining" }),
      writable: broker.writable,
      lanes: broker.lanesOff === true ? "off" : "on",
      topics,
      firstSeenAt: isoTime(broker.firstSeenMs),
    },
  };
}

function backoffView(backoff: Backoff): object {
  if (backoff.kind === "list") return { list: backoff.delaysMs.map(durationText) };
  const { initialMs, maxMs, multiplier } = backoff;
  return { exponential: { initial: durationText(initialMs), max: durationText(maxMs), multiplier } };
}

/** The shortest form that reads back to the same: "2h", "90s", "250ms". */
export function durationText(ms: number): string {
  if (ms !== 0 && ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (ms !== 0 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

/** Wall clock as ISO 8601 in UTC. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
