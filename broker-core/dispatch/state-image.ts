import { strict as assert } from "node:assert";
import { endianness } from "node:os";
import { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import { freeRow } from "../pop/group-locks.ts";
import { leaseEndAfterReboot } from "../pop/lease-clock.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { noHolder } from "../record/order-kept-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { dumpWaiting, readWaiting, waitingImageBytes, writeWaiting } from "../timed/waiting-image.ts";
import type { ConsumerGroup } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import { readTransactions, writeTransactions } from "../transaction/transaction-image.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { GroupOrder } from "./group-order.ts";
import { type ImageExtent, ImageReader, ImageWriter } from "./image-bytes.ts";

/** The bytes are no image of this version. The checkpoint is then of no use; the log has everything. */
export class StateImageError extends Error {
  override readonly name = "StateImageError";
}

/** They are an image, of a version that this release does not know. */
export class StateImageVersionError extends StateImageError {}

// The columns of the index go into the image as they lie in memory.
assert(endianness() === "LE", "popmesh runs on little-endian machines");

const magic = 0x706f_7053;
const version = 18;
/** Versions of which test/golden has directories, and this one reads all: 13 knew no lanes and no draining. */
const versionsRead: readonly number[] = [13, version];
const versionWithLanes = 18;
const versionWithDrain = 18;

/**
 * All derived state for a checkpoint, the tables as they lie in memory. What is not derived from the log (who waits, which
 * queue is next, what is durable) is of no meaning in it. Index entries that are on disk are named, not copied.
 * `bytesExpected`: of the image; more is possible.
 */
export function writeStateImage(tables: BrokerTables, bytesExpected = 0): Buffer {
  return imageOf(tables, tables.appliedPosition, "whole", bytesExpected);
}

/**
 * The state at log position `position`, behind the last record that was applied, without what belongs to single visible
 * messages: no index entries, leases or dead letters. A log that begins at `position` needs it to be read (log-trimmer.ts).
 */
export function writeBaseImage(tables: BrokerTables, position: number): Buffer {
  return imageOf(tables, position, "without messages", baseImageBytesMin(tables));
}

/** At least so many bytes has a base image, told without making one: with a million topics that takes a tenth of a second. */
export function baseImageBytesMin({ topics, queues, subscriptions, waiting }: BrokerTables): number {
  return (
    topics.imageBytes + queues.imageBytesWithoutMessages + subscriptions.imageBytes + waitingImageBytes(waiting.count)
  );
}

function imageOf(tables: BrokerTables, position: number, extent: ImageExtent, bytesExpected: number): Buffer {
  const into = new ImageWriter(bytesExpected);
  into.u32(magic);
  into.u16(version);
  into.f64(tables.clock.boot);
  into.f64(position);
  into.u8(extent === "whole" ? 0 : 1);
  writeCounters(tables, into);
  writeGroups(tables, into);
  tables.topics.writeTo(into);
  tables.queues.writeTo(into, extent);
  tables.laneRules.writeTo(into);
  tables.subscriptions.writeTo(into);
  writeTransactions(tables.transactions, into);
  if (extent === "whole") {
    writeLeases(tables, into);
    writeLocks(tables, into);
  }
  writeWaiting(tables.waiting, into);
  return into.bytes();
}

/**
 * The same in canonical order (ids, then offsets), for comparing states (B11): the state rebuilt from the log has these bytes
 * too, whatever time it is. How many leases have ended depends on the time; that the counts go with the rows does not.
 */
export function writeStateDump(tables: BrokerTables): Buffer {
  const into = new ImageWriter();
  writeCounters(tables, into);
  for (const topic of tables.topics.all()) writeTopic(tables, topic, into);
  writeGroups(tables, into);
  tables.laneRules.writeTo(into);
  const slots = leasesBySubscription(tables);
  const rows = locksBySubscription(tables);
  for (const { topicId, groupId } of inOrder(tables)) {
    const subscription = tables.subscription(groupId, topicId)!;
    writeSubscription(subscription, into);
    const leases = slots.get(subscription.slot) ?? [];
    writeLeasesOf(tables, leases, into);
    writeLocksOf(tables, rows.get(subscription.slot) ?? [], into);
    const inState = (state: LeaseState) => leases.filter((slot) => tables.leases.state[slot] === state).length;
    into.f64(subscription.readyOfAll - inState(LeaseState.Ready));
    into.u32(subscription.unlockedCount);
    into.u32(subscription.lockCount);
    into.u32(subscription.skipped);
    into.u32(subscription.queued);
    into.f64(subscription.inFlightOfAll - inState(LeaseState.InFlight));
    tables.topics.putAwayIdle(Number.NEGATIVE_INFINITY);
  }
  writeTransactions(tables.transactions, into);
  dumpWaiting(tables.waiting, into);
  into.u32(tables.holders.count);
  into.u32(tables.lanes.count);
  into.u32(tables.leases.count);
  into.u32(tables.locks.count);
  return into.bytes();
}

function writeCounters(tables: BrokerTables, into: ImageWriter): void {
  into.f64(tables.logBegin);
  into.u32(tables.topics.nextId);
  into.u32(tables.groups.nextId);
  into.f64(tables.nextGeneration);
  into.u8(tables.drain.isDraining ? 1 : 0);
  into.u32(tables.drain.leaveBelow);
  into.f64(tables.drain.wallMs);
  into.f64(tables.drain.patienceMs);
  into.f64(tables.drain.groupSpread);
  const spreads = [...tables.groupSpreads].sort(([a], [b]) => a - b);
  into.u32(spreads.length);
  for (const [topicId, number] of spreads) {
    into.u32(topicId);
    into.f64(number);
  }
}

function writeTopic({ queues }: BrokerTables, topic: Topic, into: ImageWriter): void {
  into.u32(topic.id);
  into.text(topic.name);
  into.f64(topic.incarnation);
  into.u32(topic.messageTypes);
  into.f64(topic.openedPosition);
  into.u16(topic.groupQueueCount);
  into.u16(topic.queues.length);
  for (const queue of topic.queues) {
    const begin = queues.beginOffset(queue);
    const end = queues.endOffset(queue);
    into.f64(begin);
    into.f64(end);
    into.fill(ConsumeQueueTable.bytesOf(end - begin), (bytes, at) => queues.copyEntries(queue, bytes, at));
  }
}

function writeGroups({ groups }: BrokerTables, into: ImageWriter): void {
  const all = [...groups.all()];
  into.u32(all.length);
  for (const group of all) writeGroup(group, into);
}

function writeGroup(group: ConsumerGroup, into: ImageWriter): void {
  const { policy } = group;
  into.u32(group.id);
  into.text(group.name);
  into.f64(group.openedPosition);
  into.f64(policy.generation);
  into.u32(policy.attemptsMax);
  into.u32(policy.inflightMax);
  into.f64(policy.initialMs);
  into.f64(policy.maxMs);
  into.f64(policy.multiplier);
  into.u16(policy.delaysMs.length);
  for (const delayMs of policy.delaysMs) into.f64(delayMs);
  const { broadcast } = policy;
  into.u8(broadcast === undefined ? 0 : 1);
  if (broadcast === undefined) return;
  into.text(broadcast.group);
  into.text(broadcast.clientId);
  into.f64(broadcast.expiryMs);
}

/** What of a subscription is no lease. */
function writeSubscription(subscription: Subscription, into: ImageWriter): void {
  into.u32(subscription.group.id);
  into.u32(subscription.topic.id);
  into.u32(subscription.deadLetters);
  into.u16(subscription.cursors.length);
  for (const cursor of subscription.cursors) into.f64(cursor);
  subscription.lanes?.writeTo(into);
}

function writeLeases(tables: BrokerTables, into: ImageWriter): void {
  const slots = leasesBySubscription(tables);
  into.u32(slots.size);
  for (const [subscription, leases] of slots) {
    into.u32(subscription);
    writeLeasesOf(tables, leases, into);
  }
}

function writeLeasesOf({ leases, holders, lanes }: BrokerTables, slots: number[], into: ImageWriter): void {
  slots.sort((a, b) => leases.queueId[a]! - leases.queueId[b]! || leases.offset[a]! - leases.offset[b]!);
  into.u32(slots.length);
  for (const slot of slots) {
    const state = leases.state[slot]!;
    // The end of a lease is no record: who has come back counts as in flight until the next `advance`.
    into.u8(state === LeaseState.Ready ? LeaseState.InFlight : state);
    into.u16(leases.queueId[slot]!);
    into.f64(leases.offset[slot]!);
    into.f64(leases.position[slot]!);
    into.f64(leases.generation[slot]!);
    into.u32(leases.run[slot]!);
    into.u16(leases.attempt[slot]!);
    into.u16(leases.owner[slot]!);
    if (state === LeaseState.Dead || state === LeaseState.Queued) continue;
    into.f64(leases.endMs[slot]!);
    into.f64(leases.endWallMs[slot]!);
    into.u8(leases.isOfEarlierBoot[slot]!);
    into.u8(leases.isUncounted[slot]!);
    into.u32(leases.invisibleMs[slot]!);
    into.f64(leases.firstPopMs[slot]!);
    into.f64(leases.attemptKey[slot]!);
    into.text(holders.text(leases.holder[slot]!));
    into.text(lanes.text(leases.lane[slot]!));
  }
}

function writeLocks(tables: BrokerTables, into: ImageWriter): void {
  const rows = locksBySubscription(tables);
  into.u32(rows.size);
  for (const [subscription, locks] of rows) {
    into.u32(subscription);
    writeLocksOf(tables, locks, into);
  }
}

/** The message groups of a subscription that are locked or have messages waiting. */
function writeLocksOf({ locks, leases }: BrokerTables, rows: number[], into: ImageWriter): void {
  rows.sort((a, b) => locks.queueId[a]! - locks.queueId[b]! || locks.groupHash[a]! - locks.groupHash[b]!);
  into.u32(rows.length);
  for (const row of rows) {
    const holder = locks.holder[row]!;
    const skippedCount = locks.skippedCount[row]!;
    into.u16(locks.queueId[row]!);
    into.u32(locks.groupHash[row]!);
    into.f64(holder === none ? noHolder : leases.offset[holder]!);
    into.u32(skippedCount);
    into.f64(skippedCount === 0 ? 0 : locks.skippedFrom[row]!);
    const queued: number[] = [];
    for (let slot = locks.queuedHead[row]!; slot !== none; slot = leases.nextQueued[slot]!) queued.push(slot);
    into.u32(queued.length);
    for (const slot of queued) into.f64(leases.offset[slot]!);
  }
}

/** Of an image, or its first bytes; undefined: they are none. */
export function stateImageVersion(image: Buffer): number | undefined {
  return image.length >= 6 && image.readUInt32LE(0) === magic ? image.readUInt16LE(4) : undefined;
}

/** Whether this release reads it. A base image of a released version must be one for ever (docs/log-format.md). */
export function knowsStateImageVersion(found: number): boolean {
  return versionsRead.includes(found);
}

/**
 * Fills empty tables from an image. Throws `StateImageError`. Where the index on disk is not as the image names it
 * (`tables.queues.isLost`), what refers to single messages is left out until the result is called.
 */
export function readStateImage(image: Buffer, tables: BrokerTables): () => void {
  const from = new ImageReader(image);
  let boot = 0;
  reading(() => {
    if (from.u32() !== magic) throw new StateImageError("this is no state image");
    const found = from.u16();
    if (!knowsStateImageVersion(found)) {
      const known = versionsRead.join(" and ");
      throw new StateImageVersionError(`the state image has version ${found}; this release knows ${known}`);
    }
    from.hasLanes = found >= versionWithLanes;
    from.hasDrain = found >= versionWithDrain;
    boot = from.f64();
    tables.appliedPosition = from.f64();
    tables.isPartial = from.u8() === 1;
    readTables(from, tables, boot);
  });
  const readRest = (): void =>
    reading(() => {
      if (!tables.isPartial) readMessages(from, tables, boot);
      readWaiting(from, tables.waiting);
      if (!from.isAtEnd) throw new StateImageError("the state image has bytes behind its end");
    });
  if (tables.queues.isLost) return readRest;
  readRest();
  return () => {};
}

function reading(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (error instanceof RecordFault) throw new StateImageError(error.message, { cause: error });
    if (error instanceof RangeError) throw new StateImageError("the state image is cut short", { cause: error });
    throw error;
  }
}

function readTables(from: ImageReader, tables: BrokerTables, boot: number): void {
  tables.logBegin = from.f64();
  const nextTopicId = from.u32();
  const nextGroupId = from.u32();
  tables.nextGeneration = from.f64();
  if (from.hasDrain) {
    const isDraining = from.u8() === 1;
    const [leaveBelow, wallMs, patienceMs, groupSpread] = [from.u32(), from.f64(), from.f64(), from.f64()];
    tables.drain = { isDraining, leaveBelow, wallMs, patienceMs, groupSpread };
    for (let left = from.u32(); left > 0; left--) tables.groupSpreads.set(from.u32(), from.f64());
  }
  for (let left = from.u32(); left > 0; left--) readGroup(from, tables);
  tables.topics.readFrom(from);
  tables.queues.readFrom(from);
  if (from.hasLanes) tables.laneRules.readFrom(from);
  tables.subscriptions.readFrom(from, tables.isPartial ? "without messages" : "whole");
  readTransactions(from, tables, boot);
  tables.topics.nextId = nextTopicId;
  tables.groups.nextId = nextGroupId;
}

/** What refers to single messages, and so to the index. */
function readMessages(from: ImageReader, tables: BrokerTables, boot: number): void {
  for (let left = from.u32(); left > 0; left--) readLeases(from, tables, boot);
  for (let left = from.u32(); left > 0; left--) readLocks(from, tables);
}

function readGroup(from: ImageReader, { groups }: BrokerTables): void {
  const groupId = from.u32();
  const name = from.text();
  const openedPosition = from.f64();
  const generation = from.f64();
  const attemptsMax = from.u32();
  const inflightMax = from.u32();
  const initialMs = from.f64();
  const maxMs = from.f64();
  const multiplier = from.f64();
  const delaysMs: number[] = [];
  for (let left = from.u16(); left > 0; left--) delaysMs.push(from.f64());
  const backoff = { delaysMs, initialMs, maxMs, multiplier };
  const policy = { groupId, name, generation, attemptsMax, inflightMax, ...backoff };
  if (from.u8() === 0) groups.put(policy, openedPosition);
  else {
    const broadcast = { group: from.text(), clientId: from.text(), expiryMs: from.f64() };
    groups.put({ ...policy, broadcast }, openedPosition);
  }
}

function readLeases(from: ImageReader, tables: BrokerTables, boot: number): void {
  const subscription = tables.subscriptions.at(from.u32());
  if (subscription === undefined) throw new StateImageError("leases of nobody");
  for (let left = from.u32(); left > 0; left--) readLease(from, tables, subscription, boot);
}

function readLocks(from: ImageReader, tables: BrokerTables): void {
  const subscription = tables.subscriptions.at(from.u32());
  if (subscription === undefined) throw new StateImageError("message groups of nobody");
  const order = new GroupOrder(tables);
  for (let left = from.u32(); left > 0; left--) readLock(from, order, subscription);
}

function readLock(from: ImageReader, order: GroupOrder, subscription: Subscription): void {
  const queueId = from.u16();
  const groupHash = from.u32();
  const holderOffset = from.f64();
  const skippedCount = from.u32();
  const skippedFrom = from.f64();
  const queued: number[] = [];
  for (let left = from.u32(); left > 0; left--) queued.push(from.f64());
  order.restore(subscription, { queueId, groupHash, holderOffset, skippedCount, skippedFrom, queued });
}

function readLease(from: ImageReader, tables: BrokerTables, subscription: Subscription, boot: number): void {
  const { leases, queues, holders, lanes, leaseTimers, clock } = tables;
  const state = from.u8();
  const queueId = from.u16();
  const offset = from.f64();
  const slot = leases.add(subscription.slot, queueId, offset);
  const queue = subscription.topic.queues[queueId];
  if (queue === undefined || offset >= queues.endOffset(queue)) throw new StateImageError("a lease of no message");
  leases.position[slot] = from.f64();
  leases.generation[slot] = from.f64();
  leases.run[slot] = from.u32();
  leases.attempt[slot] = from.u16();
  leases.owner[slot] = from.hasLanes ? from.u16() : 0;
  leases.holder[slot] = 0;
  leases.lane[slot] = 0;
  if (state === LeaseState.Dead || state === LeaseState.Queued) {
    leases.state[slot] = state;
    leases.clearLease(slot);
    return;
  }
  const endMs = from.f64();
  const endWallMs = from.f64();
  // A redriven message that was not handed out since has no lease, and no boot that it is of.
  const isOfEarlierBoot = (from.u8() === 1 || boot !== clock.boot) && endWallMs > 0;
  leases.isUncounted[slot] = from.u8();
  const invisibleMs = from.u32();
  leases.endMs[slot] = isOfEarlierBoot ? leaseEndAfterReboot(clock, endWallMs, invisibleMs) : endMs;
  leases.isOfEarlierBoot[slot] = isOfEarlierBoot ? 1 : 0;
  leases.endWallMs[slot] = endWallMs;
  leases.invisibleMs[slot] = invisibleMs;
  leases.firstPopMs[slot] = from.f64();
  leases.linkAttempt(slot, from.f64());
  leases.holder[slot] = holders.acquire(from.text());
  leases.lane[slot] = lanes.acquire(from.text());
  subscription.laneAt(leases.owner[slot]!).inFlight++;
  leaseTimers.set(slot, leases.endMs[slot]!);
}

function inOrder(tables: BrokerTables): { readonly topicId: number; readonly groupId: number }[] {
  return Array.from(tables.subscriptions.all(), ({ topic, group }) => ({ topicId: topic.id, groupId: group.id })).sort(
    (a, b) => a.groupId - b.groupId || a.topicId - b.topicId,
  );
}

function leasesBySubscription({ leases }: BrokerTables): Map<number, number[]> {
  const slots = new Map<number, number[]>();
  for (let slot = 0; slot < leases.end; slot++) {
    if (leases.state[slot] === LeaseState.Free) continue;
    const subscription = leases.subscription[slot]!;
    const known = slots.get(subscription);
    if (known === undefined) slots.set(subscription, [slot]);
    else known.push(slot);
  }
  return slots;
}

function locksBySubscription({ locks }: BrokerTables): Map<number, number[]> {
  const rows = new Map<number, number[]>();
  for (let row = 0; row < locks.end; row++) {
    const subscription = locks.subscription[row]!;
    if (subscription === freeRow) continue;
    const known = rows.get(subscription);
    if (known === undefined) rows.set(subscription, [row]);
    else known.push(row);
  }
  return rows;
}
