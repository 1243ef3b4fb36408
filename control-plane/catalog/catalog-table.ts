import type { BrokerRecord } from "../resource/broker.ts";
import type { ConsumerGroupRecord } from "../resource/consumer-group.ts";
import type { LanePublication } from "../resource/lane-publication.ts";
import type { LaneRuleRecord, LaneRuleSpec } from "../resource/lane-rule.ts";
import type { NamespaceRecord, NamespaceSpec } from "../resource/namespace.ts";
import type { RateLimitRecord, RateLimitSpec } from "../resource/rate-limit.ts";
import type { ResourceVersion } from "../resource/resource-version.ts";
import type { RolloutRecord, RolloutState } from "../resource/rollout.ts";
import type { TopicRecord } from "../resource/topic.ts";

/** How often a name was created and changed. Outlives the resource, so that what is created again is told from the old. */
export interface NameCounter {
  readonly incarnation: number;
  readonly generation: number;
}

/** What the control plane keeps, by kind. */
export interface RecordByKind {
  readonly namespace: NamespaceRecord;
  /** Key: `versionKey`. Versions of a namespace outlive it. */
  readonly namespaceVersion: ResourceVersion<NamespaceSpec>;
  /** Key: "<namespace>/<topic>". */
  readonly topic: TopicRecord;
  /** Key: "<namespace>/<group>". */
  readonly group: ConsumerGroupRecord;
  readonly broker: BrokerRecord;
  /** Key: "<namespace>/<rule>". */
  readonly laneRule: LaneRuleRecord;
  /** Key: `versionKey`. Versions of a rule outlive it. */
  readonly laneVersion: ResourceVersion<LaneRuleSpec>;
  /** Key: that of the rule. Of a version that is not everywhere yet. */
  readonly lanePublication: LanePublication;
  /** Key: "<namespace>/<limit>". */
  readonly rateLimit: RateLimitRecord;
  /** Key: `versionKey`. Versions of a limit outlive it. */
  readonly rateLimitVersion: ResourceVersion<RateLimitSpec>;
  /** Key: "<namespace>/<rollout>". */
  readonly rollout: RolloutRecord;
  /** Key: that of the rollout. Where it is. */
  readonly rolloutState: RolloutState;
  /** Key: "<kind>/<key of the resource>". */
  readonly counter: NameCounter;
}
export type RecordKind = keyof RecordByKind;

export const recordKinds = [
  "namespace",
  "namespaceVersion",
  "topic",
  "group",
  "broker",
  "laneRule",
  "laneVersion",
  "lanePublication",
  "rateLimit",
  "rateLimitVersion",
  "rollout",
  "rolloutState",
  "counter",
] as const satisfies RecordKind[];

/** Kinds that are bookkeeping: nobody declared them. */
const unnamedKinds: readonly RecordKind[] = [
  "namespaceVersion",
  "laneVersion",
  "lanePublication",
  "rateLimitVersion",
  "rolloutState",
  "counter",
];

/** Whether a change of the kind is told in the trail. */
export function isAudited(kind: RecordKind): boolean {
  return !unnamedKinds.includes(kind);
}

/** One table per kind. */
export type CatalogTables = { readonly [K in RecordKind]: Map<string, RecordByKind[K]> };
export type ReadonlyCatalogTables = { readonly [K in RecordKind]: ReadonlyMap<string, RecordByKind[K]> };

/** One record written, or deleted where `record` is undefined. */
export type CatalogChange = {
  [K in RecordKind]: { readonly kind: K; readonly key: string; readonly record: RecordByKind[K] | undefined };
}[RecordKind];

/** Who changed what, for the trail that is kept beside the records. */
export interface AuditLine {
  /** Wall clock. */
  readonly atMs: number;
  /** Who asked: "cli:<user>", "sidecar:<id>", "broker:<name>", "http:<client>". */
  readonly by: string;
  readonly action: "created" | "configured" | "deleted";
  readonly kind: RecordKind;
  readonly name: string;
}

export function emptyTables(): CatalogTables {
  return {
    namespace: new Map(),
    namespaceVersion: new Map(),
    topic: new Map(),
    group: new Map(),
    broker: new Map(),
    laneRule: new Map(),
    laneVersion: new Map(),
    lanePublication: new Map(),
    rateLimit: new Map(),
    rateLimitVersion: new Map(),
    rollout: new Map(),
    rolloutState: new Map(),
    counter: new Map(),
  };
}
