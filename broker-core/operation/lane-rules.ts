import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { LaneRuleFault } from "../../proto/lane/lane-classifier.ts";
import type { LaneRule } from "../../proto/lane/lane-rule.ts";
import { shadowedClauses } from "../../proto/lane/lane-shadow.ts";
import { type Now, noPosition, type Opened, type Operated, type TopicOpening } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { everyGroup, GroupLaneRule, keyCountOf } from "../lane/lane-rule-set.ts";
import { laneRuleBytesMax, laneRuleProblem, laneRuleShape, laneRuleText, plainRule } from "../lane/lane-rule-shape.ts";
import { outcomesMax, TopicLaneRules } from "../lane/topic-lane-rules.ts";
import { isLiteParent } from "../lite/lite-name.ts";
import { textBytesMax } from "../record/fixed-bytes.ts";
import { isDeadLetterTopic, type Topic } from "../topic/topic.ts";
import { laneExplain } from "./lane-explain.ts";
import { type Operation, operation } from "./operations.ts";

const text = (min: number) =>
  z
    .string()
    .min(min)
    .refine((value) => Buffer.byteLength(value) <= textBytesMax, { message: `longer than ${textBytesMax} bytes` });

const opening = z.strictObject({
  incarnation: z.number().int(),
  messageTypes: z.number().int(),
  queueCount: z.number().int(),
});

const order = z.strictObject({
  /** "<namespace>/<topic>". */
  topic: z.string(),
  /** "<namespace>/<group>"; "": every group without a rule of its own. The group need not be known here. */
  group: text(0).default(everyGroup),
  /** Of the rule, for people. */
  name: text(1),
  /** Generation: higher than that of the rule before. */
  number: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  /** The topic as the control plane has it: nobody may have used it here yet. Left out: it must be known. */
  opening: opening.optional(),
  /** The same of the topic that gets copies. */
  shadowOpening: opening.optional(),
  /** Read on its own, so that what is wrong with it is told by clause; null: no rule from now on. */
  rule: z.unknown(),
});

/**
 * `lane.rule { topic, group?, name, number, rule, opening? }`: a lane rule comes into force for the messages of a topic from now on; with `rule`
 * null it goes. Set again as it is, nothing happens. `lane.list { topic? }`: the rules in force.
 */
export function laneRuleOperations(
  tables: BrokerTables,
  log: LogReader,
  journal: Journal,
  openTopic: (opening: TopicOpening, now: Now) => Opened,
  onRuled: (topic: Topic, now: Now) => void,
): Operation[] {
  return [
    operation("lane.rule", order, (wanted, now) => {
      if (wanted.opening !== undefined && wanted.rule !== null) {
        const opened = openTopic({ name: wanted.topic, ...wanted.opening }, now);
        if (!opened.ok) return { ...opened, message: `lane.rule: ${opened.message}` };
      }
      const set = setRule(tables, journal, onRuled, wanted, now);
      // A shadow topic that cannot be opened is nothing to the rule: there are no copies then.
      const shadow = tables.topics.byName(wanted.topic)?.laneRules?.current.mirror?.topic;
      if (set.ok && wanted.shadowOpening !== undefined && shadow !== undefined)
        openTopic({ name: shadow, ...wanted.shadowOpening }, now);
      return set;
    }),
    operation("lane.list", z.strictObject({ topic: z.string().optional() }), ({ topic }) => list(tables, topic)),
    laneExplain(tables, log),
  ];
}

function setRule(
  tables: BrokerTables,
  journal: Journal,
  onRuled: (topic: Topic, now: Now) => void,
  { topic: topicName, group, name, number, rule: json }: z.infer<typeof order>,
  now: Now,
): Operated {
  const topic = tables.topics.byName(topicName);
  if (topic === undefined) {
    return refused(Code.TopicNotFound, `this broker holds no topic "${topicName}"; set the rule when it is open here`);
  }
  const unfit = whyUnfit(topic);
  if (unfit !== undefined) return refused(Code.BadRequest, `topic ${topicName} ${unfit}`);
  let rule: GroupLaneRule | undefined;
  if (json !== null) {
    const read = laneRuleShape.safeParse(json);
    if (!read.success) return refused(Code.BadRequest, laneRuleProblem(read.error));
    try {
      rule = new GroupLaneRule(group, name, number, plainRule(read.data));
    } catch (error) {
      if (error instanceof LaneRuleFault) return refused(Code.BadRequest, laneRuleProblem(error));
      throw error;
    }
  }
  const ruleText = rule === undefined ? "" : laneRuleText(rule.rule);
  if (Buffer.byteLength(ruleText) > laneRuleBytesMax) {
    return refused(
      Code.BadRequest,
      `a lane rule has at most ${laneRuleBytesMax} bytes as JSON; shorten its expressions`,
    );
  }
  const rules = topic.laneRules ?? new TopicLaneRules();
  const known = rules.current.rules.find((other) => other.group === group);
  const shadowed = shadows(rule?.rule);
  const isSame = known === undefined ? rule === undefined : rule !== undefined && laneRuleText(known.rule) === ruleText;
  const lastNumber = rules.numberFor(group);
  if (isSame && number === lastNumber) {
    return {
      ok: true,
      result: { topic: topicName, group, number, isChanged: false, shadowed },
      position: journal.lastPosition,
    };
  }
  if (number <= lastNumber) {
    const what = group === everyGroup ? "every group" : `group ${group}`;
    return refused(
      Code.BadRequest,
      `the lane rule of topic ${topicName} for ${what} has number ${lastNumber}, this one has ${number}: a newer rule has a higher one`,
    );
  }
  const mirrorProblem = rule?.rule.mirror === undefined ? undefined : whyNoMirror(tables, topicName, group, rule);
  if (mirrorProblem !== undefined) return refused(Code.BadRequest, mirrorProblem);
  const next = rules.with(group, rule);
  if (!rules.fits(next)) {
    return refused(
      Code.BadRequest,
      `the rules of topic ${topicName} would tell ${keyCountOf(next)} kinds of messages apart, and those of before ` +
        `${rules.outcomeCount}, which are still in its queues; ${outcomesMax} fit. Withdraw rules of single groups in favour of one ` +
        "for every group, name fewer lanes, or keep messages for a shorter time (--retention-age)",
    );
  }
  const position = journal.laneRule({
    ...{ topicId: topic.id, number, wallMs: now.wallMs, group, name, topicName, rule: ruleText },
  });
  onRuled(topic, now);
  return { ok: true, result: { topic: topicName, group, number, isChanged: true, shadowed }, position };
}

/** Clauses that never decide anything (L10), counted from 1. */
function shadows(rule: LaneRule | undefined): { readonly clause: number; readonly by: number }[] {
  return shadowedClauses(rule?.clauses ?? []).map(({ clause, by }) => ({ clause: clause + 1, by: by + 1 }));
}

function whyUnfit({ name, messageTypes }: Topic): string | undefined {
  if (isDeadLetterTopic(name)) return "is a dead-letter queue: those of all lanes lie in it, and it has no lanes";
  if (isLiteParent(messageTypes) || name.indexOf("/") !== name.lastIndexOf("/"))
    return "holds lite topics, which have no lanes";
  return undefined;
}

function list(tables: BrokerTables, only: string | undefined): Operated {
  const topics = tables.laneRules.all().flatMap(([topicId, rules]) => {
    const topic = tables.topics.byId(topicId);
    if (topic === undefined || (only !== undefined && topic.name !== only)) return [];
    const inForce = rules.current.rules.map(({ group, name, number, rule }) => ({ group, name, number, rule }));
    const kept = { ruleSets: rules.sets.length, outcomes: rules.outcomeCount };
    return [
      { topic: topic.name, incarnation: topic.incarnation, since: rules.current.position, rules: inForce, ...kept },
    ];
  });
  return {
    ok: true,
    result: { topics, ...(tables.laneRules.lanes.isOff ? { areOff: true } : {}) },
    position: noPosition,
  };
}

/** Copies of copies are never made; rules that ask for them are a mistake. */
function whyNoMirror(
  { topics, laneRules }: BrokerTables,
  topic: string,
  group: string,
  { rule: { mirror } }: GroupLaneRule,
): string | undefined {
  const shadow = mirror?.topic ?? "";
  if (shadow === topic) return `mirror: topic ${topic} cannot be its own copy`;
  if (isDeadLetterTopic(shadow)) return `mirror: ${shadow} is a dead-letter queue; copy to a topic of its own`;
  for (const [topicId, { current }] of laneRules.all()) {
    const name = topics.byId(topicId)?.name ?? "";
    if (name === topic && current.rules.some((other) => other.group !== group && other.rule.mirror !== undefined))
      return `mirror: another rule of topic ${topic} copies its messages already; one says for all groups`;
    if (name === shadow && current.mirror !== undefined)
      return `mirror: ${shadow} is copied to ${current.mirror.topic} itself, and copies are not copied; mirror ${topic} to that, or end the other`;
    if (name !== topic && current.mirror?.topic === topic)
      return `mirror: ${topic} holds the copies of ${name}, and copies are not copied; mirror ${name} to ${shadow}`;
  }
  return undefined;
}

function refused(code: Code, message: string): Operated {
  return { ok: false, code, message: `lane.rule: ${message}` };
}
