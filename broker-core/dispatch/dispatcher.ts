import { RecordType } from "../commit-log/log.ts";
import { readBrokerDrain } from "../record/broker-drain-record.ts";
import { readGroupDropped, readGroupRecord } from "../record/group-record.ts";
import { readGroupSpread } from "../record/group-spread-record.ts";
import { readLaneRuleRecord } from "../record/lane-rule-record.ts";
import { readLogTrimmed } from "../record/log-trimmed-record.ts";
import { readOrderKept } from "../record/order-kept-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { DamageRepair } from "./damage-repair.ts";
import { DeliveryFollower } from "./delivery-follower.ts";
import { dropGroup } from "./group-dropping.ts";
import { GroupOrder } from "./group-order.ts";
import { LaneFollower } from "./lane-follower.ts";
import { LeaseFollower } from "./lease-follower.ts";
import { LeaseRepair } from "./lease-repair.ts";
import { LogTrimmer } from "./log-trimmer.ts";
import { OrderRepair } from "./order-repair.ts";
import { QueueFollower } from "./queue-follower.ts";
import { SubscriptionFollower } from "./subscription-follower.ts";
import { UnseenFollower } from "./unseen-follower.ts";

/**
 * Follows the log into the tables: the single way in which records change state, live and in replay (B11). It decides
 * nothing and trusts the log's checksums; a record that does not fit the state is a bug or a foreign log and ends the
 * process, because going on would reset somebody's position (planted-bug list, no. 24). Unless something before it is lost, and
 * whoever wrote it did not know (replay-damage.ts): then it is a consequence, and is made to fit.
 */
export class Dispatcher {
  readonly #tables: BrokerTables;
  readonly #unseen: UnseenFollower;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #trimmer: LogTrimmer;
  readonly #lanes: LaneFollower;
  readonly #subscriptions: SubscriptionFollower;
  readonly #deliveries: DeliveryFollower;
  readonly #queues: QueueFollower;
  /** For records after a lost part of the log. */
  readonly #names: DamageRepair;
  readonly #repair: LeaseRepair;
  readonly #orderRepair: OrderRepair;

  constructor(tables: BrokerTables) {
    this.#tables = tables;
    this.#unseen = new UnseenFollower(
      tables,
      (release, position, bytes, start, end) => this.#queues.released(release, position, bytes, start, end),
      (topicId, bytes, start, end) => this.#queues.topicOfMessage(topicId, bytes, start, end),
    );
    const order = (this.#order = new GroupOrder(tables));
    const leases = (this.#leases = new LeaseFollower(tables, order));
    this.#lanes = new LaneFollower(tables, (subscription) => this.#repair.laneMissed(subscription));
    this.#queues = new QueueFollower(tables, order, leases, this.#lanes, (topic) => this.#unseen.topicDropped(topic));
    this.#names = this.#queues.names;
    this.#repair = new LeaseRepair(tables, order, leases);
    this.#subscriptions = new SubscriptionFollower(tables, this.#queues, order, leases, this.#lanes);
    this.#deliveries = new DeliveryFollower(tables, {
      ...{ order, leases, queues: this.#queues, lanes: this.#lanes },
      ...{ subscriptions: this.#subscriptions, repair: this.#repair },
    });
    this.#orderRepair = new OrderRepair(tables, order, leases, this.#queues, this.#repair);
    this.#trimmer = new LogTrimmer(tables, order, leases, this.#orderRepair);
  }

  /** What stood at these log positions is lost; records that follow may not go with the state, and are made to. */
  lost(from: number, to: number): void {
    this.#tables.damage.lost(from, to);
    this.#queues.isolate();
    this.#unseen.isolate();
    this.#trimmer.isolate();
  }

  /** Whoever writes what follows knows what was lost until now: records have to go with the state again. */
  known(): void {
    const { damage } = this.#tables;
    if (!damage.isOpen) return;
    this.#queues.judgeAll();
    this.#unseen.judgeAll();
    if (this.#tables.isPartial) {
      this.#tables.isPartial = false;
      this.#orderRepair.doubtAll();
      this.#order.endPartial();
    }
    this.#lanes.known();
    damage.close(this.#tables.groups.nextId);
  }

  /** Applies the record with body `bytes[start, end)` that lies at `position`. */
  apply(type: RecordType, position: number, bytes: Buffer, start: number, end: number): void {
    this.#names.position = position;
    if (type !== RecordType.Message) this.#queues.interrupt();
    this.#unseen.interrupt(type);
    switch (type) {
      case RecordType.Message:
        this.#queues.message(position, bytes, start, end);
        break;
      case RecordType.Pop:
        this.#deliveries.popped(bytes, start, end);
        break;
      case RecordType.Ack:
        this.#deliveries.acked(bytes, start, end);
        break;
      case RecordType.Change:
        this.#deliveries.changed(bytes, start, end);
        break;
      case RecordType.DeadLetter:
        this.#deliveries.deadLetter(position, bytes, start, end);
        break;
      case RecordType.CursorOpened:
        this.#subscriptions.opened(bytes, start, end);
        break;
      case RecordType.CursorReset:
        this.#subscriptions.reset(bytes, start, end);
        break;
      case RecordType.Redrive:
        this.#deliveries.redriven(bytes, start, end);
        break;
      case RecordType.TopicOpened:
      case RecordType.TopicChanged:
        this.#queues.topic(position, bytes, start, end);
        break;
      case RecordType.TopicDropped:
        this.#queues.topicDropped(bytes, start, end);
        break;
      case RecordType.GroupOpened:
      case RecordType.GroupChanged:
        this.#tables.groups.put(readGroupRecord(bytes, start, end), position);
        break;
      case RecordType.GroupDropped:
        dropGroup(this.#tables, this.#order, this.#leases, readGroupDropped(bytes, start, end));
        break;
      case RecordType.LaneRule:
        this.#lanes.rule(position, readLaneRuleRecord(bytes, start, end), this.#names);
        break;
      case RecordType.LaneSpilled:
      case RecordType.LaneResumed:
      case RecordType.LaneClosed:
        this.#lanes.event(type, bytes, start, end);
        break;
      case RecordType.LaneFilter:
        this.#lanes.filter(bytes, start, end);
        break;
      case RecordType.LanesSwitched:
        this.#lanes.switched(bytes, start, end);
        break;
      case RecordType.BrokerDrain:
        this.#tables.drain = readBrokerDrain(bytes, start, end);
        break;
      case RecordType.GroupSpread:
        this.#queues.groupSpread(readGroupSpread(bytes, start, end));
        break;
      case RecordType.OrderKept:
        this.#trimmer.orderKept(readOrderKept(bytes, start, end));
        break;
      case RecordType.LogTrimmed:
        this.#trimmer.trimmed(readLogTrimmed(bytes, start, end));
        break;
      default:
        if (this.#unseen.apply(type, position, bytes, start, end)) break;
        throw new RecordFault(`record type ${type} at log position ${position} is of a newer version of popmesh`);
    }
  }
}
