import { qualifiedName } from "../../proto/resource-name.ts";
import type { ConsumerGroupRecord, ConsumerGroupSpec } from "../resource/consumer-group.ts";
import { consumerGroupDefaults } from "../resource/consumer-group.ts";
import { namespaceLengthMaxWithDefaults } from "../resource/default-limit.ts";
import { type NamespaceRecord, type NamespaceSpec, namespaceSpecOf } from "../resource/namespace.ts";
import { type TopicRecord, type TopicSpec, topicDefaults } from "../resource/topic.ts";
import { brokersFor, brokersLacking, placeable } from "./broker-choice.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { countUp } from "./name-counter.ts";
import { countIn, isCounted } from "./namespace-usage.ts";
import { actionOf, countVersion, keepVersion, type Rollback, type RolledBack, rollBack } from "./resource-versions.ts";
import { nextSpreadNumber, withBrokersAdded } from "./topic-placement.ts";

/** What became of a declaration. */
export type Declared<R> =
  | { readonly outcome: "created" | "configured" | "unchanged"; readonly record: R }
  /** It contradicts what exists; nothing was changed. */
  | { readonly outcome: "conflict"; readonly path: string; readonly reason: string };

/** Resources of one kind that the control plane takes; a guard against programs that create without end. */
export const resourceCountMax = 100_000;

/** Fields left out keep their value, or take their default when the topic is new. */
export function declareTopic(
  draft: CatalogDraft,
  namespace: string,
  name: string,
  said: Partial<TopicSpec>,
  namespaceDefaults: NamespaceSpec,
): Declared<TopicRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("topic", key);
  const spec = merge(existing ?? topicDefaults, said);
  if (existing === undefined) {
    if (draft.count("topic") >= resourceCountMax) return tooMany("topics");
    declareNamespace(draft, namespace, {}, namespaceDefaults);
    const more = { topics: 1, groups: 0, queues: spec.queues };
    const refusal = isCounted(name) ? countIn(draft, namespace, more) : undefined;
    if (refusal !== undefined) return { outcome: "conflict", ...refusal };
    const counter = countUp(draft, "topic", key, true);
    const record: TopicRecord = {
      namespace,
      name,
      type: spec.type,
      queues: spec.queues,
      state: spec.state,
      ...(spec.brokers === undefined ? {} : { brokers: spec.brokers }),
      ...counter,
      placement: brokersFor(key, spec.brokers, placeable(draft)),
      createdMs: draft.nowMs,
      createdBy: draft.by,
    };
    draft.put("topic", key, record);
    return { outcome: "created", record };
  }
  if (spec.type !== existing.type) {
    const reason = `is ${existing.type} and cannot become ${spec.type}: order is derived from the type; use another topic`;
    return { outcome: "conflict", path: "spec.type", reason };
  }
  if (spec.queues < existing.queues) {
    const reason = `cannot shrink from ${existing.queues} to ${spec.queues}: the queues may still hold messages`;
    return { outcome: "conflict", path: "spec.queues", reason };
  }
  const closed = existing.closed ?? [];
  const open = existing.placement.filter((broker) => !closed.includes(broker));
  if (spec.brokers !== existing.brokers && spec.brokers !== undefined && spec.brokers < open.length) {
    const reason = `cannot be ${spec.brokers}: it lies on ${open.join(", ")}, and they may still hold messages`;
    return { outcome: "conflict", path: "spec.brokers", reason };
  }
  if (spec.queues === existing.queues && spec.state === existing.state && spec.brokers === existing.brokers) {
    return { outcome: "unchanged", record: existing };
  }
  const more = { topics: 0, groups: 0, queues: spec.queues - existing.queues };
  const refusal = isCounted(name) ? countIn(draft, namespace, more) : undefined;
  if (refusal !== undefined) return { outcome: "conflict", ...refusal };
  const { generation } = countUp(draft, "topic", key, false);
  const { brokers } = spec;
  const changed = { ...existing, queues: spec.queues, state: spec.state, generation };
  const wanted: TopicRecord = brokers === undefined ? changed : { ...changed, brokers };
  const come = brokersLacking(key, wanted, placeable(draft).filter(draft.isAlive));
  const record = come.length === 0 ? wanted : withBrokersAdded(wanted, come, nextSpreadNumber(draft));
  draft.put("topic", key, record);
  return { outcome: "configured", record };
}

/** Fields left out keep their value, or take their default when the group is new. */
export function declareGroup(
  draft: CatalogDraft,
  namespace: string,
  name: string,
  said: Partial<ConsumerGroupSpec>,
  namespaceDefaults: NamespaceSpec,
): Declared<ConsumerGroupRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("group", key);
  // A group of an earlier release says nothing of what came later.
  const spec = merge<ConsumerGroupSpec>({ ...consumerGroupDefaults, ...existing }, said);
  if (existing !== undefined && equalSpecs(groupSpecOf({ ...consumerGroupDefaults, ...existing }), groupSpecOf(spec))) {
    return { outcome: "unchanged", record: existing };
  }
  if (existing === undefined) {
    if (draft.count("group") >= resourceCountMax) return tooMany("groups");
    declareNamespace(draft, namespace, {}, namespaceDefaults);
    const refusal = countIn(draft, namespace, { topics: 0, groups: 1, queues: 0 });
    if (refusal !== undefined) return { outcome: "conflict", ...refusal };
  }
  const { generation } = countUp(draft, "group", key, existing === undefined);
  const record: ConsumerGroupRecord = {
    namespace,
    name,
    ...groupSpecOf(spec),
    generation,
    createdMs: existing?.createdMs ?? draft.nowMs,
    createdBy: existing?.createdBy ?? draft.by,
  };
  draft.put("group", key, record);
  return { outcome: existing === undefined ? "created" : "configured", record };
}

/** Fields left out keep their value, or are those of `defaults` when the namespace is new. */
export function declareNamespace(
  draft: CatalogDraft,
  name: string,
  said: Partial<NamespaceSpec>,
  defaults: NamespaceSpec,
  rollback?: Rollback,
): Declared<NamespaceRecord> {
  const existing = draft.get("namespace", name);
  const spec = namespaceSpecOf(merge<NamespaceSpec>(existing ?? defaults, said));
  if (existing !== undefined && isSameNamespace(existing, spec)) return { outcome: "unchanged", record: existing };
  if ((spec.topicSends !== null || spec.groupReceives !== null) && name.length > namespaceLengthMaxWithDefaults) {
    const reason = `has ${name.length} characters, and with default limits it may have ${namespaceLengthMaxWithDefaults}`;
    return { outcome: "conflict", path: "spec.defaultLimits", reason };
  }
  const numbers = countVersion(draft, "namespace", name, existing === undefined);
  const record: NamespaceRecord = { name, ...spec, generation: numbers.generation };
  draft.put("namespace", name, record);
  keepVersion(draft, "namespace", name, { ...numbers, ...actionOf(existing === undefined, rollback), spec });
  return { outcome: existing === undefined ? "created" : "configured", record };
}

/** Gives a namespace the spec of an earlier version; of one that was deleted that alone comes back, not what it held. */
export function rollBackNamespace(
  draft: CatalogDraft,
  name: string,
  to: number | undefined,
  defaults: NamespaceSpec,
): RolledBack<NamespaceRecord> {
  const existing = draft.get("namespace", name);
  const isCurrent = (spec: NamespaceSpec) => existing !== undefined && isSameNamespace(existing, spec);
  return rollBack(draft, "namespace", name, to, isCurrent, (spec, rollback) =>
    declareNamespace(draft, name, spec, defaults, rollback),
  );
}

/** What is declared is one resource too many. */
export function tooMany(
  what: string,
  countMax = resourceCountMax,
): { outcome: "conflict"; path: string; reason: string } {
  const reason = `cannot be created: the control plane already keeps ${countMax} ${what}; delete some first`;
  return { outcome: "conflict", path: "metadata.name", reason };
}

/** `said` over `base`; a field that is undefined was not said. */
function merge<T extends object>(base: T, said: Partial<T>): T {
  const merged = { ...base };
  for (const key of Object.keys(said) as (keyof T)[]) {
    const value = said[key];
    if (value !== undefined) merged[key] = value as T[keyof T];
  }
  return merged;
}

function groupSpecOf(spec: ConsumerGroupSpec): ConsumerGroupSpec {
  const { attemptsMax, backoff, inflightMax, receiveBatchSize, longPollingMs, deliveryMode, instanceExpiryMs } = spec;
  return { attemptsMax, backoff, inflightMax, receiveBatchSize, longPollingMs, deliveryMode, instanceExpiryMs };
}

function isSameNamespace(a: NamespaceSpec, b: NamespaceSpec): boolean {
  return JSON.stringify(namespaceSpecOf(a)) === JSON.stringify(namespaceSpecOf(b));
}

/** Both are plain data with their fields in the same order. */
function equalSpecs(a: ConsumerGroupSpec, b: ConsumerGroupSpec): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
