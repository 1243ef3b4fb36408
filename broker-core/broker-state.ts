import type {
  BrokerPort,
  Carried,
  ChangeCall,
  Ended,
  GroupOpening,
  LiteSync,
  LiteSynced,
  Now,
  OffsetCall,
  OffsetFound,
  Opened,
  Operated,
  OrphanSink,
  PullCall,
  Pulled,
  Recalled,
  ReceiveCall,
  ReceiveSink,
  SendCall,
  Sent,
  Settled,
  SubscriptionFigures,
  TopicFigures,
  TopicOpening,
  TransactionEnd,
} from "./broker-port.ts";
import type { LogReader, LogRecord, LogWriter } from "./commit-log/log.ts";
import type { LogPlaces } from "./commit-log/log-places.ts";
import type { IndexPages } from "./consume-queue/index-pages.ts";
import { Burier } from "./dead-letter/burier.ts";
import { BrokerTables } from "./dispatch/broker-tables.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import { IndexRecovery } from "./dispatch/index-recovery.ts";
import { Journal } from "./dispatch/journal.ts";
import { trimLog, type Unconsumed, unconsumedBelow } from "./dispatch/log-trimming.ts";
import type { DamageConsequences } from "./dispatch/replay-damage.ts";
import { Sender } from "./dispatch/sender.ts";
import {
  baseImageBytesMin,
  readStateImage,
  writeBaseImage,
  writeStateDump,
  writeStateImage,
} from "./dispatch/state-image.ts";
import { LaneKeeper } from "./lane/lane-keeper.ts";
import { isLiteParent, liteTopicName } from "./lite/lite-name.ts";
import { LiteReceiver } from "./lite/lite-receiver.ts";
import { brokerOperations } from "./operation/broker-operations.ts";
import { type Operation, Operations } from "./operation/operations.ts";
import { subscriptionFigures } from "./operation/subscription-figures.ts";
import { countsByTopic, topicFigures } from "./operation/topic-figures.ts";
import type { GroupStart } from "./pop/cursor-opening.ts";
import { LeaseEnds } from "./pop/lease-ends.ts";
import { ReceiptSealer } from "./pop/receipt.ts";
import { Receiver } from "./pop/receiver.ts";
import { Settler } from "./pop/settler.ts";
import type { Subscription } from "./pop/subscription.ts";
import { WakeList } from "./pop/wake-list.ts";
import { Puller } from "./pull/puller.ts";
import { bootNumber } from "./record/granted-at.ts";
import type { TrimReason } from "./record/log-trimmed-record.ts";
import { RecallHandleSealer } from "./timed/recall-handle.ts";
import { delayMsMaxDefault, TimedMessages } from "./timed/timed-messages.ts";
import { GroupExpiry } from "./topic/group-expiry.ts";
import { Opener } from "./topic/opener.ts";
import type { Topic } from "./topic/topic.ts";
import { type CheckPolicy, defaultCheckPolicy, TransactionCoordinator } from "./transaction/transaction-coordinator.ts";
import { TransactionIdSealer } from "./transaction/transaction-id.ts";

export interface BrokerStateOptions {
  /** Operator calls that look through the log and read the state; they never change it. */
  readonly lookUps?: (tables: BrokerTables) => readonly Operation[];
  /** Name of the broker group; first field of every receipt. */
  readonly brokerName: string;
  /** Seals receipts; at least 16 bytes, kept with the data so that receipts outlive the process. */
  readonly receiptKey: Buffer;
  /** Random 32 bits, new with every start: tells this run's leases from those a power cut took (lease-table.ts). */
  readonly runId: number;
  /** Of the clock that `now` values come from. */
  readonly bootId: string;
  /** The moment of the start: anchor for leases of an earlier boot. */
  readonly start: Now;
  /** Default 20 000. */
  readonly inFlightMaxDefault?: number;
  /** Default "end". */
  readonly groupStart?: GroupStart;
  /** Who asks producers about their open transactions. Without it nobody does, and they end by their age. */
  readonly orphans?: OrphanSink;
  readonly checkPolicy?: CheckPolicy;
  /** Topics in use before idle ones are put away; default 1 024. */
  readonly topicsInUseMin?: number;
  /** Longest delay of a timed message; default 40 days. */
  readonly delayMsMax?: number;
  /** Where index entries go that do not fit into memory; default: memory. */
  readonly indexPages?: IndexPages;
  /** Memory for index entries; default 64 MiB. */
  readonly indexBytes?: number;
}

const inFlightMaxDefault = 20_000;

/** Knows no producers. */
const nobody: OrphanSink = { canAsk: () => false, ask() {}, givenUp() {} };

/**
 * The broker as a deterministic state machine over one log (docs/broker-state.md). Calls decide, the journal writes the
 * decision down and the dispatcher applies it; time passes in `advance`. Calls other than `receive` throw `MeshError` when
 * the log takes no more records.
 */
export class BrokerState implements BrokerPort {
  readonly #tables: BrokerTables;
  readonly #dispatcher: Dispatcher;
  readonly #journal: Journal;
  readonly #opener: Opener;
  readonly #expiry: GroupExpiry;
  readonly #timed: TimedMessages;
  readonly #transactions: TransactionCoordinator;
  readonly #sender: Sender;
  readonly #burier: Burier;
  readonly #receiver: Receiver;
  readonly #keeper: LaneKeeper;
  readonly #settler: Settler;
  readonly #puller: Puller;
  readonly #lite: LiteReceiver;
  readonly #operations: Operations;
  readonly #woken = new WakeList((topicId) => this.#lite.isWanted(topicId));
  /** Of a start that found the index lost. */
  readonly #recovery: IndexRecovery | undefined;
  /** Of the last snapshot. */
  #imageBytes = 0;
  readonly #leaseEnds: LeaseEnds;

  /** `image`: a snapshot to start from; the log is then replayed from `appliedPosition`. Throws `StateImageError`. */
  constructor(log: LogWriter & LogReader, sink: ReceiveSink, options: BrokerStateOptions, image?: Buffer) {
    const { bootId, start } = options;
    this.#tables = new BrokerTables(
      { boot: bootNumber(bootId), startMonotonicMs: start.monotonicMs, startWallMs: start.wallMs },
      options.topicsInUseMin,
      options.indexPages,
      options.indexBytes,
    );
    if (image === undefined) this.#tables.queues.clearPages();
    else {
      const readRest = readStateImage(image, this.#tables);
      if (this.#tables.queues.isLost) this.#recovery = new IndexRecovery(this.#tables, readRest);
    }
    const sealer = new ReceiptSealer(options.brokerName, options.receiptKey);
    this.#dispatcher = new Dispatcher(this.#tables);
    this.#journal = new Journal(log, this.#tables, this.#dispatcher, options.runId >>> 0);
    this.#opener = new Opener(this.#tables, this.#journal);
    this.#expiry = new GroupExpiry(this.#tables, this.#journal);
    const sealOf = [options.brokerName, options.receiptKey] as const;
    this.#timed = new TimedMessages(
      this.#tables,
      log,
      this.#journal,
      new RecallHandleSealer(...sealOf),
      options.delayMsMax ?? delayMsMaxDefault,
    );
    this.#transactions = new TransactionCoordinator(
      this.#tables,
      log,
      this.#journal,
      new TransactionIdSealer(...sealOf),
      options.orphans ?? nobody,
      options.checkPolicy ?? defaultCheckPolicy,
    );
    this.#sender = new Sender(this.#tables, this.#journal, this.#opener, this.#timed, this.#transactions);
    this.#burier = new Burier(this.#tables, log, this.#journal, this.#opener);
    this.#leaseEnds = new LeaseEnds(this.#tables, this.#burier, (of) => this.#woken.add(of));
    this.#settler = new Settler(this.#tables, this.#journal, this.#burier, sealer);
    const wake = (subscription: Subscription): void => this.#woken.add(subscription);
    const receiving = {
      inFlightMaxDefault: options.inFlightMaxDefault ?? inFlightMaxDefault,
      groupStart: options.groupStart ?? ("end" as const),
    };
    this.#receiver = new Receiver(this.#tables, log, this.#journal, this.#burier, sealer, sink, receiving, wake);
    this.#keeper = new LaneKeeper(this.#tables, this.#journal, wake, (lane, now) => this.#receiver.release(lane, now));
    this.#receiver.keeper = this.#keeper;
    this.#lite = new LiteReceiver(this.#tables, log, this.#journal, this.#opener, this.#receiver, sink);
    this.#receiver.lite = this.#lite;
    this.#puller = new Puller(this.#tables, log, this.#journal, this.#receiver);
    this.#operations = new Operations([
      ...brokerOperations(this.#tables, log, this.#journal, {
        ...{ sender: this.#sender, keeper: this.#keeper, receives: this.#receiver, wake },
        openTopic: (opening, now) => this.openTopic(opening, now),
        inFlightMax: (of) => this.#receiver.inFlightMax(of),
      }),
      ...(options.lookUps?.(this.#tables) ?? []),
    ]);
  }

  get replayFrom(): number | undefined {
    return this.#recovery !== undefined || this.appliedPosition === 0 ? undefined : this.appliedPosition;
  }

  /** Part of the log that is being replayed is lost, right before the next record (B10). */
  lost(from: number, to: number): void {
    if (this.#recovery?.lost(from) !== true) this.#dispatcher.lost(from, to);
  }

  /** What follows in the replay was written in knowledge of all that was told as lost. */
  known(): void {
    this.#dispatcher.known();
  }

  /** What the replay made of the lost parts. */
  get damageConsequences(): DamageConsequences {
    return this.#tables.damage.consequences;
  }

  replay(record: LogRecord): void {
    if (this.#recovery?.take(record)) return;
    this.#dispatcher.apply(record.type, record.position, record.body, 0, record.body.length);
    this.#tables.appliedPosition = record.nextPosition;
    this.#tables.topics.putAwayIdle(Number.NEGATIVE_INFINITY);
  }

  /** There are no more records in the log. */
  replayed(): void {
    this.#recovery?.finish(this.appliedPosition);
  }

  goLive(now: Now): void {
    this.replayed();
    this.#dispatcher.known();
    this.#tables.isPartial = false;
    const { queues, undurable } = this.#tables;
    // What was read from the log at start-up is on disk: recovery has seen to that.
    while (undurable.take(Number.POSITIVE_INFINITY) >= 0);
    queues.showAll();
    this.#expiry.begin(now);
    this.#keeper.begin(now);
    this.advance(now);
  }

  openTopic(opening: TopicOpening, _now: Now): Opened {
    return this.#opener.openTopic(opening, (dropped) => {
      this.#forgetTopic(dropped);
      if (!isLiteParent(dropped.messageTypes)) return;
      // Its lite topics go with it.
      this.#lite.dropParent(dropped);
      const prefix = liteTopicName(dropped.name, "");
      const children = [...this.#tables.topics.all()].filter(({ name }) => name.startsWith(prefix));
      for (const child of children) {
        this.#forgetTopic(child);
        this.#journal.topicDropped(child.id);
      }
    });
  }

  /** Before its state goes: nothing waits for it any more. */
  #forgetTopic(topic: Topic): void {
    for (const subscription of topic.subscriptions.values()) this.#woken.forget(subscription);
    this.#receiver.dropTopic(topic);
  }

  openGroup(opening: GroupOpening, now: Now): Opened {
    const opened = this.#opener.openGroup(opening);
    if (opened.ok) this.#expiry.saw(opened.id, now);
    return opened;
  }

  send(call: SendCall, now: Now): Sent {
    return this.#sender.send(call, now);
  }

  receive(call: ReceiveCall, ticket: number, now: Now): number {
    this.#expiry.saw(call.groupId, now);
    const handle = this.#receiver.receive(call, ticket, now);
    if (this.#woken.isEmpty) this.#keeper.settle(now);
    else this.#serveWoken(now);
    return handle;
  }

  receivePlaces(call: ReceiveCall, into: LogPlaces): void {
    this.#receiver.places(call, into);
  }

  pullPlaces(call: PullCall, into: LogPlaces): void {
    this.#puller.places(call, into);
  }

  cancelReceive(handle: number): boolean {
    return this.#receiver.cancel(handle);
  }

  ack(groupId: number, receipts: readonly Uint8Array[], now: Now): Settled {
    this.#expiry.saw(groupId, now);
    const settled = this.#settler.ack(groupId, receipts, now, this.#onAcked);
    this.#serveWoken(now);
    return settled;
  }

  deadLetter(groupId: number, receipts: readonly Uint8Array[], now: Now): Settled {
    this.#expiry.saw(groupId, now);
    const settled = this.#settler.deadLetter(groupId, receipts, now, this.#onAcked);
    this.#serveWoken(now);
    return settled;
  }

  /** A full group has room again, or a message group is unlocked: calls that wait for that are served. */
  readonly #onAcked = (subscription: Subscription): void => {
    const hadNoRoom = subscription.inFlightOfAll + 1 >= this.#receiver.inFlightMax(subscription);
    if (hadNoRoom || subscription.hasTurn) this.#woken.add(subscription);
  };

  change(groupId: number, changes: readonly ChangeCall[], now: Now): Settled {
    this.#expiry.saw(groupId, now);
    const settled = this.#settler.change(groupId, changes, now);
    this.#leaseEnds.end(now);
    this.#serveWoken(now);
    return settled;
  }

  recall(topicId: number, recallHandle: string, now: Now): Recalled {
    return this.#timed.recall(topicId, recallHandle, now);
  }

  endTransaction(call: TransactionEnd, now: Now): Ended {
    return this.#transactions.end(call, now);
  }

  producersCame(topic: string, now: Now): void {
    this.#transactions.producersCame(topic, now);
  }

  carryBefore(position: number, _now: Now): Carried {
    const timed = this.#timed.carryBefore(position);
    if (!timed.isFinished) return timed;
    const half = this.#transactions.carryBefore(position);
    return { position: Math.max(timed.position, half.position), isFinished: half.isFinished };
  }

  syncLite(call: LiteSync, now: Now): LiteSynced {
    return this.#lite.sync(call, now);
  }

  lanePresence(group: string, topic: string, lane: string, isThere: boolean, now: Now): void {
    const found = this.#tables.subscriptionOf(group, topic)?.lanes?.byName(lane);
    if (found !== undefined) this.#keeper.presence(found, isThere, now);
    this.#keeper.advance(now);
    this.#serveWoken(now);
  }

  pull(call: PullCall): Pulled {
    return this.#puller.pull(call);
  }

  queryOffset(call: OffsetCall): OffsetFound {
    return this.#puller.queryOffset(call);
  }

  updateOffset(call: OffsetCall, now: Now): OffsetFound {
    const found = this.#puller.updateOffset(call, now);
    const subscription = this.#tables.subscription(call.groupId, call.topicId);
    if (subscription !== undefined) this.#woken.add(subscription);
    this.#serveWoken(now);
    return found;
  }

  onDurable(durablePosition: number, now: Now): void {
    this.#transactions.onDurable(now);
    this.#receiver.onDurable(durablePosition);
    const { topics, queues, undurable } = this.#tables;
    topics.putAwayIdle(now.monotonicMs);
    for (let queue = undurable.take(durablePosition); queue >= 0; queue = undurable.take(durablePosition)) {
      queues.setVisibleEnd(queue, queues.visibleEnd(queue) + 1);
      const topicId = queues.topicId(queue);
      this.#woken.addTopic(topicId, topics.inUse(topicId));
    }
    this.#serveWoken(now);
  }

  advance(now: Now): void {
    this.#tables.topics.putAwayIdle(now.monotonicMs);
    this.#leaseEnds.end(now);
    this.#timed.advance(now);
    this.#keeper.advance(now);
    this.#serveWoken(now);
    this.#receiver.advance(now);
    this.#keeper.settle(now);
    this.#lite.advance(now);
    this.#expiry.advance(now);
    this.#transactions.advance(now);
  }

  nextTimerMs(): number {
    return Math.min(
      this.#leaseEnds.nextTimerMs(),
      this.#timed.nextTimerMs(),
      this.#receiver.nextTimerMs(),
      this.#transactions.nextTimerMs(),
      this.#lite.nextTimerMs(),
      this.#expiry.nextTimerMs(),
      this.#keeper.nextTimerMs(),
    );
  }

  /** Whether all lanes are suspended (kill switch). */
  get areLanesOff(): boolean {
    return this.#tables.laneRules.lanes.isOff;
  }

  get appliedPosition(): number {
    return this.#tables.appliedPosition;
  }

  snapshot(): Buffer {
    const image = writeStateImage(this.#tables, this.#imageBytes);
    this.#imageBytes = image.length;
    return image;
  }

  dump(): Buffer {
    return writeStateDump(this.#tables);
  }

  operate(method: string, parameters: unknown, now: Now): Operated | Promise<Operated> {
    const operated = this.#operations.run(method, parameters, now);
    this.#leaseEnds.end(now);
    this.#keeper.advance(now);
    this.#serveWoken(now);
    return operated;
  }

  /** A base image has at least so many bytes. */
  get baseBytesMin(): number {
    return baseImageBytesMin(this.#tables);
  }

  /**
   * What a log that begins at `position` needs to be read: the state as of there, without messages. `position` lies behind the
   * last record that was applied and before the next.
   */
  baseImage(position: number): Buffer {
    return writeBaseImage(this.#tables, position);
  }

  /** Where the log begins for this state: what lies below is gone from its tables. */
  get logBegin(): number {
    return this.#tables.logBegin;
  }

  /** What groups have not consumed below a log position. */
  unconsumedBelow(position: number): Unconsumed[] {
    return unconsumedBelow(this.#tables, position);
  }

  /**
   * Lets the log begin at a later position and returns that of the record that says so. A base image of `begin` is durable, and
   * what waits unseen below was carried on. Segments below may go once the record is durable.
   */
  trimLog(begin: number, reason: TrimReason, now: Now): number {
    const position = trimLog(this.#tables, this.#journal, begin, reason, now);
    // What was removed in flight was in the way of other messages.
    for (const subscription of this.#tables.subscriptions.inUse()) this.#woken.add(subscription);
    this.#serveWoken(now);
    return position;
  }

  subscriptions(): SubscriptionFigures[] {
    return subscriptionFigures(this.#tables, (of) => this.#receiver.inFlightMax(of));
  }

  topics(): TopicFigures[] {
    return topicFigures(this.#tables);
  }

  delayedMessages(): { readonly topic: string; readonly count: number }[] {
    return countsByTopic(this.#tables, this.#tables.waiting.counts);
  }

  openTransactions(): { readonly topic: string; readonly count: number }[] {
    return countsByTopic(this.#tables, this.#tables.transactions.counts);
  }

  #serveWoken(now: Now): void {
    this.#now = now;
    this.#woken.serve(this.#serveSubscription, this.#serveLite);
    this.#keeper.settle(now);
  }

  /** Of the call at hand, for the functions below: no closure per call. */
  #now: Now = { monotonicMs: 0, wallMs: 0 };
  readonly #serveSubscription = (subscription: Subscription) => this.#receiver.serveWaiting(subscription, this.#now);
  readonly #serveLite = (topicId: number) => this.#lite.wake(topicId, this.#now);
}
