import { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { IndexPages } from "../consume-queue/index-pages.ts";
import { UndurableEntries } from "../consume-queue/undurable-entries.ts";
import type { LaneRuleTable } from "../lane/lane-rule-table.ts";
import { GroupLockTable } from "../pop/group-locks.ts";
import type { LeaseClock } from "../pop/lease-clock.ts";
import { LeaseTable } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { SubscriptionTable } from "../pop/subscription-table.ts";
import { TextTable } from "../pop/text-table.ts";
import { TimerWheel } from "../pop/timer-wheel.ts";
import type { BrokerDrainRecord } from "../record/broker-drain-record.ts";
import { WaitingTable } from "../timed/waiting-table.ts";
import { GroupTable } from "../topic/consumer-group.ts";
import { TopicTable } from "../topic/topic-table.ts";
import { TransactionTable } from "../transaction/transaction-table.ts";
import { ReplayDamage } from "./replay-damage.ts";

/** Everything that is derived from the log. Written by the dispatcher and by the end of leases, read by the decisions. */
export class BrokerTables {
  readonly clock: LeaseClock;
  readonly topics: TopicTable;
  readonly groups = new GroupTable();
  readonly queues: ConsumeQueueTable;
  readonly undurable = new UndurableEntries();
  /** Messages that wait for their time. */
  readonly waiting = new WaitingTable();
  readonly leases = new LeaseTable();
  /** Message groups of which a message is out. */
  readonly locks = new GroupLockTable();
  readonly subscriptions: SubscriptionTable;
  /** Ends of the leases in flight, by lease slot. */
  readonly leaseTimers: TimerWheel;
  readonly transactions = new TransactionTable();
  /** Next checks of the open transactions, by slot. */
  readonly transactionTimers: TimerWheel;
  /** Client ids of the holders. */
  readonly holders = new TextTable();
  readonly lanes = new TextTable();
  /** Above every lease generation in the log. */
  nextGeneration = 1;
  /**
   * What was restored is a base image: until the LogTrimmed record that goes with it comes, records may speak of messages that
   * are not here, and the order of message groups is not known (log-trimmer.ts).
   */
  isPartial = false;
  /** Nothing below this log position is left: retention has removed it. */
  logBegin = 0;
  /** Whether the broker is drained; see `BrokerDrainRecord`. */
  drain: BrokerDrainRecord = { isDraining: false, leaveBelow: 0, wallMs: 0, patienceMs: 0, groupSpread: 0 };
  /** Number of the spread of message groups, by topic id, where it has changed; see `GroupSpreadRecord`. */
  readonly groupSpreads = new Map<number, number>();
  /** Of the replay at hand; no part of the state. */
  readonly damage = new ReplayDamage();
  /** Log position behind the last record that was applied. */
  appliedPosition = 0;

  /** `topicsInUseMin`: as of `TopicTable`; `pages` and `indexBytes`: as of `ConsumeQueueTable`. */
  constructor(clock: LeaseClock, topicsInUseMin?: number, pages?: IndexPages, indexBytes?: number) {
    this.clock = clock;
    this.topics = new TopicTable(topicsInUseMin);
    this.queues = new ConsumeQueueTable(pages, indexBytes);
    this.subscriptions = new SubscriptionTable(this.topics, this.groups, this.leases, this.locks, this.queues);
    this.leaseTimers = new TimerWheel(clock.startMonotonicMs);
    this.transactionTimers = new TimerWheel(clock.startMonotonicMs);
  }

  get laneRules(): LaneRuleTable {
    return this.topics.laneRules;
  }

  subscription(groupId: number, topicId: number): Subscription | undefined {
    return this.topics.byId(topicId)?.subscriptions.get(groupId);
  }

  /** The same by names; what is not known here has none. */
  subscriptionOf(groupName: string, topicName: string): Subscription | undefined {
    const group = this.groups.byName(groupName);
    return group === undefined ? undefined : this.topics.byName(topicName)?.subscriptions.get(group.id);
  }
}
