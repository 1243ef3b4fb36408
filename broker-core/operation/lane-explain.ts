import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { explainRule } from "../../proto/lane/lane-explanation.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { ruleFor } from "../lane/rule-for.ts";
import type { LaneOutcome } from "../lane/topic-lane-rules.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import type { Subscription } from "../pop/subscription.ts";
import { messageBodyStart, messageLaneMark } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import type { Topic } from "../topic/topic.ts";
import { describeLane } from "./describe-group.ts";
import { type Operation, operation } from "./operations.ts";
import { placeState } from "./place-state.ts";

const shape = z.strictObject({ topic: z.string(), queueId: z.number().int().min(0), offset: z.number().int().min(0) });

const scan = new MessageScan();

/** Of one message in its queue: its mark, and of each group of the topic why the message is whose, and how it stands there. */
export interface ExplainedPlace {
  /** Null: the message's bytes are damaged. */
  readonly laneMark: string | null;
  readonly groups: readonly object[];
}

/**
 * `lane.explain { topic, queueId, offset }`: for each group of the topic, by which rule and clause (counted from 1; null: none held) a
 * message was put into which lane when it came (L12), whose it is now, and what it is waiting for.
 */
export function laneExplain(tables: BrokerTables, log: LogReader): Operation {
  return operation("lane.explain", shape, ({ topic: name, queueId, offset }, now): Operated => {
    const { topics, queues } = tables;
    const topic = topics.byName(name);
    const queue = topic?.queues[queueId];
    if (topic === undefined || queue === undefined) {
      const message = `lane.explain: this broker holds no queue ${queueId} of topic "${name}"`;
      return { ok: false, code: Code.TopicNotFound, message };
    }
    const [begin, end] = [queues.beginOffset(queue), queues.visibleEnd(queue)];
    if (offset < begin || offset >= end) {
      const message = `lane.explain: queue ${queueId} of ${name} holds the offsets ${begin} to ${end - 1}; ${offset} is outside`;
      return { ok: false, code: Code.IllegalOffset, message };
    }
    const { laneMark, groups } = explainPlace(tables, log, topic, queueId, offset, now.monotonicMs);
    const result = { topic: name, queueId, offset, laneMark, isReadable: laneMark !== null, groups };
    return { ok: true, result, position: noPosition };
  });
}

/** Explains the message at an offset that the queue holds. */
export function explainPlace(
  tables: BrokerTables,
  log: LogReader,
  topic: Topic,
  queueId: number,
  offset: number,
  monotonicMs: number,
): ExplainedPlace {
  const { queues } = tables;
  const entry = queues.entry(topic.queues[queueId]!, offset);
  const outcome = topic.laneRules?.outcome(queues.lane(entry));
  const isLost = (queues.flags(entry) & EntryFlag.Lost) !== 0;
  const laneMark = isLost ? undefined : readInto(log, queues.position(entry));
  const groups = Array.from(topic.subscriptions.values(), (subscription) => ({
    group: subscription.group.name,
    ...classified(outcome, subscription, laneMark),
    ...standing(tables, subscription, queueId, offset, monotonicMs),
  }));
  return { laneMark: laneMark ?? null, groups };
}

/** Scans the message of an index entry, and returns its lane mark; undefined when its bytes are damaged. */
function readInto(log: LogReader, position: number): string | undefined {
  try {
    const { body, start } = readStoredMessage(log, position);
    scanMessage(body, messageBodyStart(body, start), body.length, scan);
    return messageLaneMark(body, start);
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

/** What the rules said when the message came. */
function classified(outcome: LaneOutcome | undefined, { group }: Subscription, laneMark: string | undefined): object {
  const rule = outcome === undefined ? undefined : ruleFor(outcome.set, group);
  if (outcome === undefined || rule === undefined) return { rule: null, clause: null, lane: "base", verdicts: [] };
  // Which clause held is not stored: it follows from the rule and the message, and both are here.
  const explained = laneMark === undefined ? undefined : explainRule(rule.rule, scan, laneMark);
  return {
    rule: { name: rule.name, number: rule.number, group: rule.group, since: outcome.set.position },
    clause: explained?.clause ?? null,
    lane: outcome.set.laneOf(outcome.key, group.name),
    verdicts: explained?.verdicts ?? [],
  };
}

/** Whose the message is now, and how it stands. */
function standing(
  tables: BrokerTables,
  subscription: Subscription,
  queueId: number,
  offset: number,
  monotonicMs: number,
): object {
  const owner = subscription.ownerOf(tables.queues, queueId, offset);
  const laneFacts = describeLane(tables, subscription, owner, monotonicMs);
  const base = owner === subscription ? laneFacts : describeLane(tables, subscription, subscription, monotonicMs);
  const told = { owner: owner.lane, isSpilled: laneFacts.isSpilled, ownerLane: laneFacts, baseLane: base };
  // `lane` is what the rule said; that of the holder is told with the hand-outs.
  const { lane: _, ...place } = placeState(tables, subscription, queueId, offset, monotonicMs);
  if (place.state !== "ahead") return { ...told, ...place };
  return { ...told, ...place, before: countBefore(tables, subscription, owner, queueId, offset) };
}

/** Messages of the same lane that come before it in its queue. */
function countBefore(
  { queues }: BrokerTables,
  { lanes, cursors }: Subscription,
  owner: LaneCursor,
  queueId: number,
  offset: number,
): number {
  return lanes === undefined ? offset - (cursors[queueId] ?? 0) : lanes.countAhead(queues, queueId, offset, owner);
}
