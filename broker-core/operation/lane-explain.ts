import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { noClause } from "../../proto/lane/lane-classifier.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { ruleFor } from "../lane/rule-for.ts";
import type { LaneOutcome } from "../lane/topic-lane-rules.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";
import { messageBodyStart, messageLaneMark } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import { type Operation, operation } from "./operations.ts";

const shape = z.strictObject({ topic: z.string(), queueId: z.number().int().min(0), offset: z.number().int().min(0) });

const scan = new MessageScan();

/**
 * `lane.explain { topic, queueId, offset }`: for each group of the topic, by which rule and clause (counted from 1; null: none held) a
 * message was put into which lane when it came (L12), whose it is now, and what it is waiting for.
 */
export function laneExplain(tables: BrokerTables, log: LogReader): Operation {
  return operation("lane.explain", shape, ({ topic: name, queueId, offset }): Operated => {
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
    const entry = queues.entry(queue, offset);
    const outcome = topic.laneRules?.outcome(queues.lane(entry));
    const isLost = (queues.flags(entry) & EntryFlag.Lost) !== 0;
    const laneMark = isLost ? undefined : readInto(log, queues.position(entry));
    const groups = Array.from(topic.subscriptions.values(), (subscription) => ({
      group: subscription.group.name,
      ...classified(outcome, subscription, laneMark),
      ...standing(tables, subscription, queueId, offset),
    }));
    const result = {
      topic: name,
      queueId,
      offset,
      laneMark: laneMark ?? null,
      isReadable: laneMark !== undefined,
      groups,
    };
    return { ok: true, result, position: noPosition };
  });
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
  if (outcome === undefined || rule === undefined) return { rule: null, clause: null, lane: "base" };
  // Which clause held is not stored: it follows from the rule and the message, and both are here.
  const clause = laneMark === undefined ? noClause : rule.compiled.classify(scan, laneMark);
  return {
    rule: { name: rule.name, number: rule.number, group: rule.group, since: outcome.set.position },
    clause: clause === noClause ? null : clause + 1,
    lane: outcome.set.laneOf(outcome.key, group.name),
  };
}

/** Whose the message is now, and how it stands. */
function standing(
  { queues, leases, locks, holders }: BrokerTables,
  subscription: Subscription,
  queueId: number,
  offset: number,
): object {
  const owner = subscription.ownerOf(queues, queueId, offset);
  const isSpilled = subscription.lanes?.byName(owner.lane)?.isSpilled ?? false;
  const slot = leases.find(subscription.slot, queueId, offset);
  const told = { owner: owner.lane, isSpilled };
  if (slot === none) {
    const queue = subscription.topic.queues[queueId]!;
    const hash = subscription.topic.isOrdered
      ? orderHash(queues, subscription, queues.entry(queue, offset), offset)
      : 0;
    const row = hash === 0 ? none : locks.find(subscription.slot, queueId, hash);
    const isPassedBy = row !== none && locks.skippedCount[row]! > 0 && offset >= locks.skippedFrom[row]!;
    const isAhead = offset >= (owner.cursors[queueId] ?? 0);
    return { ...told, state: isAhead ? "ahead" : isPassedBy ? "waits for its turn" : "done" };
  }
  const state = leases.state[slot];
  const holder = holders.text(leases.holder[slot]!);
  const attempt = leases.attempt[slot]!;
  if (state === LeaseState.InFlight) return { ...told, state: "in flight", holder, attempt };
  if (state === LeaseState.Dead) return { ...told, state: "dead", attempt };
  return { ...told, state: state === LeaseState.Queued ? "waits for its turn" : "back", holder, attempt };
}
