import { z } from "zod";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { explainRule } from "../../proto/lane/lane-explanation.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { everyGroup } from "../lane/lane-rule-set.ts";
import { describeLane } from "./describe-group.ts";
import { type Operation, operation } from "./operations.ts";

const text = z.string().max(255);
const shape = z.strictObject({
  topic: z.string(),
  /** Only of this one; left out: of each that reads the topic or has a rule of its own. */
  group: z.string().optional(),
  /** Lane mark. */
  lane: text.default(""),
  tag: text.optional(),
  keys: z.array(text).max(64).default([]),
  messageGroup: text.optional(),
  id: text.default(""),
  properties: z.record(text, z.string().max(4_096)).default({}),
});

const scan = new MessageScan();

/**
 * `lane.evaluate { topic, group?, lane?, tag?, keys?, messageGroup?, properties?, id? }`: what would become of such a message if it came now,
 * for each group: rule, clause and why, lane, and how that lane stands. Nothing is stored.
 */
export function laneEvaluate(tables: BrokerTables): Operation {
  return operation("lane.evaluate", shape, (order, now): Operated => {
    const topic = tables.topics.byName(order.topic);
    if (topic === undefined) {
      return { ok: false, code: Code.TopicNotFound, message: `this broker holds no topic "${order.topic}"` };
    }
    const bytes = apache.rocketmq.v2.Message.encode({
      topic: { name: "explained" },
      systemProperties: {
        messageId: order.id,
        keys: [...order.keys],
        ...(order.tag === undefined ? {} : { tag: order.tag }),
        ...(order.messageGroup === undefined ? {} : { messageGroup: order.messageGroup }),
      },
      userProperties: order.properties,
    }).finish();
    scanMessage(Buffer.from(bytes), 0, bytes.length, scan);
    const set = topic.laneRules?.current;
    const names = new Set<string>();
    // An instance of a broadcast group gets everything: it has no lanes.
    for (const { group } of topic.subscriptions.values())
      if (group.policy.broadcast === undefined) names.add(group.name);
    for (const rule of set?.rules ?? []) if (rule.group !== everyGroup) names.add(rule.group);
    const wanted = order.group === undefined ? [...names].sort() : [order.group];
    const groups = wanted.map((group) => {
      const rule = set?.ruleFor(group);
      const explained = rule === undefined ? undefined : explainRule(rule.rule, scan, order.lane);
      const lane = explained?.lane ?? "base";
      const subscription = tables.subscriptionOf(group, order.topic);
      const owner = subscription?.lanes?.byName(lane) ?? subscription;
      return {
        group,
        rule:
          rule === undefined ? null : { name: rule.name, number: rule.number, group: rule.group, since: set!.position },
        clause: explained?.clause ?? null,
        lane,
        verdicts: explained?.verdicts ?? [],
        /** Null: the group has not read the topic here. */
        ownerLane: owner === undefined ? null : describeLane(tables, subscription!, owner, now.monotonicMs),
        baseLane: subscription === undefined ? null : describeLane(tables, subscription, subscription, now.monotonicMs),
      };
    });
    return { ok: true, result: { topic: order.topic, groups }, position: noPosition };
  });
}
