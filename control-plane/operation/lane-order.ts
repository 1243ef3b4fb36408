import { z } from "zod";
import { Code } from "../../proto/code.ts";
import type { LaneRule } from "../../proto/lane/lane-rule.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { ReadonlyCatalogTables } from "../catalog/catalog-table.ts";
import { type LaneRuleRecord, laneRuleOf } from "../resource/lane-rule.ts";
import { messageTypesOf, type TopicRecord } from "../resource/topic.ts";

/** Parameters of the operator call `lane.rule` (docs/operator-calls.md). */
export interface LaneOrder {
  /** "<namespace>/<topic>". */
  readonly topic: string;
  /** "<namespace>/<group>", or "" for every group. */
  readonly group: string;
  /** "<namespace>/<rule>". */
  readonly name: string;
  /** Generation: higher than that of every rule before for this topic and group. A broker that has it does nothing. */
  readonly number: number;
  /** Null: withdrawn. */
  readonly rule: LaneRule | null;
  /** The topic as the control plane has it: nobody may have used it there yet. Not of a withdrawal. */
  readonly opening?: TopicOpeningOrder;
  /** Of the topic that gets copies, where the broker holds it. */
  readonly shadowOpening?: TopicOpeningOrder;
}

/** What a topic is. */
export interface TopicOpeningOrder {
  readonly incarnation: number;
  readonly messageTypes: number;
  readonly queueCount: number;
}

/** A rule that a broker has in force. */
export interface LaneRuleAtBroker {
  readonly topic: string;
  readonly group: string;
  readonly name: string;
  readonly generation: number;
  /** Of the topic that it is for. */
  readonly incarnation: number;
}

/** Result of the operator call `lane.list`, as far as it is read here. */
const laneListSchema = z.object({
  topics: z.array(
    z.object({
      topic: z.string(),
      incarnation: z.number(),
      rules: z.array(z.object({ group: z.string(), name: z.string(), number: z.number() })),
    }),
  ),
});

/** The rules that a broker listed, one by one. Throws `MeshError` when its answer says something else. */
export function rulesInList(answer: unknown): LaneRuleAtBroker[] {
  const read = laneListSchema.safeParse(answer);
  if (!read.success) {
    throw new MeshError(
      Code.InternalServerError,
      "its answer to lane.list is not what this control plane expects; are they of one release?",
    );
  }
  return read.data.topics.flatMap(({ topic, incarnation, rules }) =>
    rules.map(({ group, name, number: generation }) => ({ topic, group, name, generation, incarnation })),
  );
}

/** Rules of one broker by `brokerTargetKey`. */
export type RulesAtBroker = ReadonlyMap<string, LaneRuleAtBroker>;

/** What a rule is for, as a key among the rules of one broker. */
export function brokerTargetKey({ topic, group }: Pick<LaneRuleAtBroker, "topic" | "group">): string {
  return `${topic} ${group}`;
}

/** The topic of a rule where `broker` holds it; undefined: the rule has nothing to do there. */
export function topicOfRuleAt(
  tables: ReadonlyCatalogTables,
  broker: string,
  { namespace, topic }: LaneRuleRecord,
): TopicRecord | undefined {
  const record = tables.topic.get(qualifiedName(namespace, topic));
  return record?.placement.includes(broker) === true ? record : undefined;
}

/** What a broker must be told so that it has the rules of the catalog: withdrawals, which make room, then rules. */
export interface LaneOrders {
  readonly withdrawals: readonly LaneOrder[];
  readonly rules: readonly LaneOrder[];
  /** Rules there that this control plane never knew: its store is not the one that made them. They are left in force. */
  readonly foreign: readonly LaneRuleAtBroker[];
}

export function laneOrdersFor(broker: string, tables: ReadonlyCatalogTables, has: RulesAtBroker): LaneOrders {
  const withdrawals: LaneOrder[] = [];
  const foreign: LaneRuleAtBroker[] = [];
  for (const at of has.values()) {
    const rule = tables.laneRule.get(at.name);
    if (rule !== undefined && brokerTargetKey(targetOf(rule)) === brokerTargetKey(at)) continue;
    // The deletion counted up; a rule that is for something else now was deleted before.
    const generation = tables.counter.get(`laneRule/${at.name}`)?.generation;
    if (generation === undefined || generation <= at.generation) foreign.push(at);
    else withdrawals.push({ topic: at.topic, group: at.group, name: at.name, number: generation, rule: null });
  }
  const rules: LaneOrder[] = [];
  for (const rule of tables.laneRule.values()) {
    const topic = topicOfRuleAt(tables, broker, rule);
    if (topic === undefined) continue;
    if (!isMeantFor(broker, tables, rule)) continue;
    const shadow = rule.mirror && topicOfRuleAt(tables, broker, { ...rule, topic: rule.mirror.topic });
    const order = orderOf(rule, topic, shadow);
    const at = has.get(brokerTargetKey(order));
    const isThere = at?.name === order.name && at.generation >= rule.generation && at.incarnation === topic.incarnation;
    if (!isThere) rules.push(order);
  }
  return { withdrawals, rules, foreign };
}

/** False for a broker that gets a version when others have it. */
export function isMeantFor(broker: string, tables: ReadonlyCatalogTables, rule: LaneRuleRecord): boolean {
  const publication = tables.lanePublication.get(qualifiedName(rule.namespace, rule.name));
  return (
    publication?.generation !== rule.generation || publication.stage === "all" || publication.first.includes(broker)
  );
}

function orderOf(rule: LaneRuleRecord, topic: TopicRecord, shadow: TopicRecord | undefined): LaneOrder {
  return {
    ...targetOf(rule),
    name: qualifiedName(rule.namespace, rule.name),
    number: rule.generation,
    rule: laneRuleOf(rule, rule.namespace),
    opening: openingOf(topic),
    ...(shadow === undefined ? {} : { shadowOpening: openingOf(shadow) }),
  };
}

function openingOf({ incarnation, type, queues }: TopicRecord): TopicOpeningOrder {
  return { incarnation, messageTypes: messageTypesOf(type), queueCount: queues };
}

function targetOf({ namespace, topic, group }: LaneRuleRecord): { readonly topic: string; readonly group: string } {
  return {
    topic: qualifiedName(namespace, topic),
    group: group === "" ? "" : qualifiedName(namespace, group),
  };
}
