import { baseLane } from "../../proto/lane/lane-rule.ts";
import { RecordType } from "../commit-log/log.ts";
import { sentFilter } from "../filter/message-filter.ts";
import { GroupLaneRule } from "../lane/lane-rule-set.ts";
import { readLaneRule } from "../lane/lane-rule-shape.ts";
import { ruleFor } from "../lane/rule-for.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type SubscriptionLane, SubscriptionLanes } from "../pop/subscription-lanes.ts";
import { type LaneEvent, readLaneEvent } from "../record/lane-event-record.ts";
import { readLaneFilter } from "../record/lane-filter-record.ts";
import type { LaneRuleRecord } from "../record/lane-rule-record.ts";
import { readLanesSwitched } from "../record/lanes-switched-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { DamageRepair } from "./damage-repair.ts";

/** Follows the records of lane rules and of lanes. Part of the dispatcher. */
export class LaneFollower {
  readonly #tables: BrokerTables;
  readonly #laneMissed: (subscription: Subscription) => void;

  /** `laneMissed` is told of a lane whose rule is lost. */
  constructor(tables: BrokerTables, laneMissed: (subscription: Subscription) => void) {
    this.#tables = tables;
    this.#laneMissed = laneMissed;
  }

  /** A rule comes into force for what follows, or goes. */
  rule(position: number, record: LaneRuleRecord, names: DamageRepair): void {
    const { topics, laneRules, damage } = this.#tables;
    const topic =
      topics.byId(record.topicId) ?? (damage.isOpen ? names.topic(record.topicId, record.topicName) : undefined);
    if (topic === undefined) {
      if (damage.isOpen) return;
      throw new RecordFault(`a lane rule of the unknown topic ${record.topicId}`);
    }
    const { group, name, number } = record;
    const rule = record.rule === "" ? undefined : new GroupLaneRule(group, name, number, readLaneRule(record.rule));
    const rules = laneRules.of(topic.id) ?? laneRules.add(topic.id);
    rules.set(position, group, number, rule);
    for (const subscription of topic.subscriptions.values()) {
      this.#arrange(subscription, (queueId) => this.#tables.queues.endOffset(topic.queues[queueId]!));
    }
  }

  /** All lanes are suspended, or go on. Spilled ones stay so until somebody consumes in them. */
  switched(bytes: Buffer, start: number, end: number): void {
    const { isOff, wallMs, by } = readLanesSwitched(bytes, start, end);
    const { laneRules, subscriptions } = this.#tables;
    const { lanes: laneSwitch } = laneRules;
    laneSwitch.isOff = isOff;
    laneSwitch.sinceMs = wallMs;
    laneSwitch.by = by;
    if (!isOff) return;
    for (const { lanes } of subscriptions.laned) {
      for (const lane of lanes?.all() ?? []) {
        if (lane.isSpilled) continue;
        lanes!.setSpilled(lane, true);
        lane.takeBack();
      }
    }
  }

  /** A group reads a topic for the first time, and has its positions. */
  opened(subscription: Subscription): void {
    if (subscription.topic.laneRules === undefined) return;
    this.#arrange(subscription, (queueId) => subscription.cursors[queueId]!);
  }

  /** Something becomes of a lane. */
  event(type: RecordType, bytes: Buffer, start: number, end: number): void {
    const event = readLaneEvent(bytes, start, end);
    // A lane that ends has nothing left that could be missed.
    const lane = this.#laneOf(event, type !== RecordType.LaneClosed);
    if (lane === undefined) return;
    const subscription = this.#tables.subscription(event.groupId, event.topicId)!;
    const lanes = subscription.lanes!;
    if (type === RecordType.LaneClosed) {
      // By what is left of the log something is in hand: then it goes on closing, and ends by a record of its own.
      const isInHand = lane.inFlight + lane.ready.count + lane.unlocked.count > 0;
      if (this.#tables.damage.isOpen && isInHand) return;
      lanes.remove(lane);
      // Where order is kept, rows of message groups may speak of lanes that were.
      if (lanes.count > 0 || subscription.topic.isOrdered) return;
      subscription.lanes = undefined;
      this.#tables.subscriptions.laned.delete(subscription);
      return;
    }
    lanes.setSpilled(lane, type === RecordType.LaneSpilled);
    lane.takeBack();
  }

  /** The consumers of a lane read with a filter, from now on. */
  filter(bytes: Buffer, start: number, end: number): void {
    const record = readLaneFilter(bytes, start, end);
    const lane = this.#laneOf(record, true);
    if (lane !== undefined) lane.wanted = sentFilter(record.filterType, record.expression);
  }

  /** Undefined: it is lost, after damage; otherwise that is a fault. `isMissed`: something of it may be left. */
  #laneOf(
    { groupId, topicId, lane: name }: Pick<LaneEvent, "groupId" | "topicId" | "lane">,
    isMissed: boolean,
  ): SubscriptionLane | undefined {
    const subscription = this.#tables.subscription(groupId, topicId);
    const lane = subscription?.lanes?.byName(name);
    if (lane !== undefined) return lane;
    if (!this.#tables.damage.isOpen)
      throw new RecordFault(`lane ${name} of group ${groupId} on topic ${topicId} is not there`);
    if (subscription !== undefined && isMissed) this.#laneMissed(subscription);
    return undefined;
  }

  /** The group goes on elsewhere in a queue: all lanes do, and each owns there what is classified as its own (F12). */
  reset(subscription: Subscription, queueId: number): void {
    const offset = subscription.cursors[queueId]!;
    subscription.lanes?.forgetSeen();
    for (const lane of subscription.lanes?.all() ?? []) {
      lane.cursors[queueId] = offset;
      lane.starts[queueId] = Math.min(lane.starts[queueId]!, offset);
    }
  }

  /** Whoever writes what follows knows what was lost until now: lanes are as the rules say that are left. */
  known(): void {
    const { topics, laneRules, queues } = this.#tables;
    for (const [topicId] of laneRules.all()) {
      const topic = topics.byId(topicId);
      for (const subscription of topic?.subscriptions.values() ?? []) {
        const before = subscription.lanes?.count ?? 0;
        this.#arrange(subscription, (queueId) => queues.endOffset(topic!.queues[queueId]!));
        // A rule names a lane that was not there: what made it is lost.
        if ((subscription.lanes?.count ?? 0) > before) this.#laneMissed(subscription);
      }
    }
  }

  /** The lane that a record names. Where the rule that made it is lost, it is made by the record, and ends soon. */
  named(subscription: Subscription, name: string): LaneCursor {
    const lane = subscription.lanes?.byName(name);
    if (lane !== undefined) return lane;
    const { damage, laneRules } = this.#tables;
    if (damage.isOpen) {
      damage.note(`lane ${name} of group ${subscription.group.name} in ${subscription.topic.name}`);
      if (laneRules.of(subscription.topic.id) === undefined) laneRules.add(subscription.topic.id);
      this.#laneMissed(subscription);
      return this.#lanesOf(subscription).add(name, [...subscription.cursors]);
    }
    throw new RecordFault(
      `a hand-out of ${subscription.topic.name} to group ${subscription.group.name} from lane ${name}, which is not there`,
    );
  }

  /** The lanes that the rules in force name are there, and no others stay open. `startOf`: where new ones begin. */
  #arrange(subscription: Subscription, startOf: (queueId: number) => number): void {
    const { topic, group } = subscription;
    const rules = topic.laneRules!;
    const rule = ruleFor(rules.current, group);
    const named = rule?.lanes.filter((lane) => lane !== baseLane) ?? [];
    if (subscription.lanes === undefined && named.length === 0) return;
    const lanes = this.#lanesOf(subscription);
    this.#tables.subscriptions.laneChanges++;
    for (const lane of lanes.all()) {
      if (named.includes(lane.lane)) {
        lanes.setEnds(lane, undefined);
        continue;
      }
      // A rule may take back a lane that none of its clauses names. Once taken back, it stays so to its end.
      if (rule?.rule.withdrawn?.includes(lane.lane)) this.#withdraw(lane, true);
      if (!lane.isClosing) {
        const ends = topic.queues.map((queue) => this.#tables.queues.endOffset(queue));
        lanes.setEnds(lane, ends);
        // What waited for consumers of the lane, base decides from now on.
        lane.takeBack();
      }
    }
    for (const name of named) {
      const lane =
        lanes.byName(name) ??
        lanes.add(
          name,
          topic.queues.map((_, queueId) => startOf(queueId)),
        );
      lane.whenEmpty = rule!.rule.whenEmpty;
      if (lanes.areOff) lanes.setSpilled(lane, true);
      this.#withdraw(lane, rule!.rule.withdrawn?.includes(name) ?? false);
    }
  }

  /** Of a lane that is taken back base decides, also what was kept for its consumers. */
  #withdraw(lane: SubscriptionLane, isWithdrawn: boolean): void {
    if (isWithdrawn && !lane.isWithdrawn) lane.takeBack();
    lane.isWithdrawn = isWithdrawn;
  }

  #lanesOf(subscription: Subscription): SubscriptionLanes {
    if (subscription.lanes === undefined) {
      const { leases, locks, subscriptions } = this.#tables;
      subscription.lanes = new SubscriptionLanes(subscription, subscription.topic.laneRules!, leases, locks);
      subscriptions.laned.add(subscription);
    }
    return subscription.lanes;
  }
}
