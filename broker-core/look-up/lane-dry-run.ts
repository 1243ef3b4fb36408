import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { LaneRuleFault, noClause } from "../../proto/lane/lane-classifier.ts";
import { stickyKeyOf } from "../../proto/lane/lane-explanation.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { LogPlaces } from "../commit-log/log-places.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { everyGroup, GroupLaneRule, LaneRuleSet } from "../lane/lane-rule-set.ts";
import { laneRuleProblem, laneRuleShape, plainRule } from "../lane/lane-rule-shape.ts";
import { TopicLaneRules } from "../lane/topic-lane-rules.ts";
import { describeLane } from "../operation/describe-group.ts";
import { offsetAtTime } from "../operation/group-reset.ts";
import { type Operation, operation } from "../operation/operations.ts";
import { messageBodyStart, messageLaneMark } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import type { Topic } from "../topic/topic.ts";
import type { RecordFinder } from "./record-finder.ts";

/** Messages that follow each other in a queue and are read together: a block that is read ahead holds about so many. */
const runLength = 32;
/** Bytes around a message in its record, about. */
const aroundMessageBytes = 512;
/** Different keys that are counted; what more there are is left out of the lists, and said. */
const keysMax = 20_000;
const keysShown = 10;

/** Old messages off the event loop, as receives of a backlog are served (service/cold-lane.ts). */
export interface AheadReader {
  isCold(position: number): boolean;
  fetch(places: LogPlaces, done: () => void): void;
}

const shape = z.strictObject({
  topic: z.string(),
  /** "": every group without a rule of its own. */
  group: z.string().default(everyGroup),
  rule: z.unknown(),
  sinceMs: z.number(),
  untilMs: z.number().optional(),
  /** Messages looked at, at most; of more, evenly spread runs. */
  examinedMax: z.number().int().min(1).max(200_000).default(20_000),
  timeMsMax: z.number().int().min(1).max(30_000).default(8_000),
});
type Order = z.infer<typeof shape>;

const scan = new MessageScan();

/**
 * `lane.dryRun { topic, group?, rule, sinceMs, untilMs?, examinedMax?, timeMsMax? }`: what a rule would make of messages that are there.
 * Bounded in messages and in time, and what was cut is said. Nothing is stored; messages are served between the runs.
 */
export function laneDryRun(
  tables: BrokerTables,
  log: LogReader,
  finder: RecordFinder,
  ahead: () => AheadReader,
  clock: Clock,
): Operation {
  return operation("lane.dryRun", shape, (order, now): Operated | Promise<Operated> => {
    const read = laneRuleShape.safeParse(order.rule);
    if (!read.success) return refused(laneRuleProblem(read.error));
    let rule: GroupLaneRule;
    try {
      rule = new GroupLaneRule(order.group, "dry run", Number.MAX_SAFE_INTEGER, plainRule(read.data));
    } catch (error) {
      if (error instanceof LaneRuleFault) return refused(laneRuleProblem(error));
      throw error;
    }
    const topic = tables.topics.byName(order.topic);
    // Nobody has used it here: there is nothing to go by.
    if (topic === undefined) return { ok: true, result: { ...emptyCount, groups: [] }, position: noPosition };
    return finder.session(async (): Promise<Operated> => {
      const run = new DryRun(tables, topic, rule);
      await run.over(order, now.wallMs, { log, ahead: ahead(), clock });
      return { ok: true, result: run.result(now.monotonicMs), position: noPosition };
    });
  });
}

const emptyCount = { total: 0, examined: 0, damaged: 0, isCut: false, isLate: false, clauses: [], lanes: [] };

function refused(message: string): Operated {
  return { ok: false, code: Code.BadRequest, message: `lane.dryRun: ${message}` };
}

class DryRun {
  readonly #tables: BrokerTables;
  readonly #topic: Topic;
  readonly #rule: GroupLaneRule;
  readonly #before: LaneRuleSet;
  readonly #after: LaneRuleSet;
  readonly #groups: readonly string[];
  /** By group, in the order of `#groups`: messages by "from", then "to". */
  readonly #moves: Map<string, Map<string, number>>[];
  /** By clause; the last one: none held. */
  readonly #clauses: number[];
  readonly #keys = new Map<string, Map<string, number>>();
  #keyCount = 0;
  #areKeysCut = false;
  #total = 0;
  #examined = 0;
  #damaged = 0;
  #isCut = false;
  #isLate = false;

  constructor(tables: BrokerTables, topic: Topic, rule: GroupLaneRule) {
    this.#tables = tables;
    this.#topic = topic;
    this.#rule = rule;
    const rules = topic.laneRules ?? new TopicLaneRules();
    this.#before = rules.current;
    this.#after = new LaneRuleSet(rules.current.position, rules.with(rule.group, rule));
    const names = new Set<string>();
    for (const { group } of topic.subscriptions.values())
      if (group.policy.broadcast === undefined) names.add(group.name);
    for (const { group } of this.#after.rules) if (group !== everyGroup) names.add(group);
    this.#groups = [...names].sort();
    this.#moves = this.#groups.map(() => new Map());
    this.#clauses = [...rule.rule.clauses.map(() => 0), 0];
  }

  /** Looks at the messages of a time. */
  async over(
    order: Order,
    nowMs: number,
    { log, ahead, clock }: { readonly log: LogReader; readonly ahead: AheadReader; readonly clock: Clock },
  ): Promise<void> {
    const { queues } = this.#tables;
    const ranges = this.#topic.queues.map((queue) => {
      const from = offsetAtTime(queues, log, queue, order.sinceMs);
      return { queue, from, to: Math.max(from, offsetAtTime(queues, log, queue, order.untilMs ?? nowMs + 1)) };
    });
    this.#total = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    this.#isCut = this.#total > order.examinedMax;
    const share = this.#isCut ? order.examinedMax / this.#total : 1;
    const places = new LogPlaces((position) => ahead.isCold(position));
    const endMs = clock.monotonicMs() + order.timeMsMax;
    for (const { queue, from, to } of ranges) {
      // Runs of messages that lie together, evenly spread over the time: each costs one look at the disk.
      for (let start = from; start < to; start += Math.max(runLength, Math.round(runLength / share))) {
        if (clock.monotonicMs() >= endMs) {
          this.#isLate = true;
          return;
        }
        const end = Math.min(to, start + runLength);
        await this.#fetch(queue, start, end, places, ahead);
        for (let offset = start; offset < end; offset++) this.#look(log, queue, offset);
        await new Promise<void>((resolve) => clock.atTurnEnd(() => resolve()));
      }
    }
  }

  #fetch(queue: number, start: number, end: number, places: LogPlaces, ahead: AheadReader): Promise<void> | undefined {
    const { queues } = this.#tables;
    places.clear();
    for (let offset = Math.max(start, queues.beginOffset(queue)); offset < end; offset++) {
      const entry = queues.entry(queue, offset);
      if (!places.add(queues.position(entry), queues.bytes(entry) + aroundMessageBytes)) break;
    }
    if (!places.areCold) return undefined;
    return new Promise((resolve) => ahead.fetch(places, resolve));
  }

  #look(log: LogReader, queue: number, offset: number): void {
    const { queues } = this.#tables;
    // Removed by retention between two turns.
    if (offset < queues.beginOffset(queue)) return;
    const entry = queues.entry(queue, offset);
    if ((queues.flags(entry) & EntryFlag.Lost) !== 0) return;
    let laneMark: string;
    try {
      const { body, start } = readStoredMessage(log, queues.position(entry));
      scanMessage(body, messageBodyStart(body, start), body.length, scan);
      laneMark = messageLaneMark(body, start);
    } catch (error) {
      if (!isUnreadable(error) && !(error instanceof MeshError)) throw error;
      this.#damaged++;
      return;
    }
    this.#examined++;
    const clause = this.#rule.compiled.classify(scan, laneMark);
    this.#clauses[clause === noClause ? this.#clauses.length - 1 : clause]!++;
    this.#countKey(this.#rule.compiled.laneOf(clause));
    const before = this.#before.keyOf(scan, laneMark);
    const after = this.#after.keyOf(scan, laneMark);
    for (const [i, group] of this.#groups.entries()) {
      const [from, to] = [this.#before.laneOf(before, group), this.#after.laneOf(after, group)];
      let moves = this.#moves[i]!.get(from);
      if (moves === undefined) this.#moves[i]!.set(from, (moves = new Map()));
      moves.set(to, (moves.get(to) ?? 0) + 1);
    }
  }

  /** What belongs together: message groups, else first keys. Ids are of one message each, and no key to anybody. */
  #countKey(lane: string): void {
    const { what, value } = stickyKeyOf(scan);
    if (what === "id") return;
    let keys = this.#keys.get(lane);
    if (keys === undefined) this.#keys.set(lane, (keys = new Map()));
    const count = keys.get(value);
    if (count === undefined && this.#keyCount >= keysMax) {
      this.#areKeysCut = true;
      return;
    }
    if (count === undefined) this.#keyCount++;
    keys.set(value, (count ?? 0) + 1);
  }

  result(monotonicMs: number): object {
    const { rule, lanes } = this.#rule;
    const counts = new Map(lanes.map((lane) => [lane, 0]));
    for (const [i, count] of this.#clauses.entries()) {
      const lane = rule.clauses[i]?.to ?? "base";
      counts.set(lane, (counts.get(lane) ?? 0) + count);
    }
    return {
      ...{ total: this.#total, examined: this.#examined, damaged: this.#damaged },
      ...{ isCut: this.#isCut, isLate: this.#isLate, areKeysCut: this.#areKeysCut },
      clauses: rule.clauses.map(({ to }, i) => ({ clause: i + 1, to, messages: this.#clauses[i]! })),
      lanes: lanes.map((lane) => ({ lane, messages: counts.get(lane) ?? 0, ...this.#topKeys(lane) })),
      groups: this.#groups.map((group, i) => {
        const decides = this.#after.ruleFor(group);
        const subscription = this.#tables.subscriptionOf(group, this.#topic.name);
        return {
          group,
          isDecidedByIt: decides === this.#rule,
          moves: [...this.#moves[i]!].flatMap(([from, to]) =>
            [...to].map(([lane, messages]) => ({ from, to: lane, messages })),
          ),
          holders: Object.fromEntries(
            (subscription === undefined ? [] : [subscription, ...(subscription.lanes?.all() ?? [])]).map((lane) => [
              lane.lane,
              describeLane(this.#tables, subscription!, lane, monotonicMs).holders.length,
            ]),
          ),
        };
      }),
    };
  }

  #topKeys(lane: string): object {
    const keys = [...(this.#keys.get(lane) ?? [])].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    return { keys: keys.length, topKeys: keys.slice(0, keysShown).map(([key, messages]) => ({ key, messages })) };
  }
}
