import assert from "node:assert/strict";
import type { BrokerState } from "../../broker-core/broker-state.ts";
import { type LogRecord, RecordType } from "../../broker-core/commit-log/log.ts";
import * as ack from "../../broker-core/record/ack-record.ts";
import { carryMessageStart } from "../../broker-core/record/carry-record.ts";
import { readDeadLetterRecord } from "../../broker-core/record/dead-letter-record.ts";
import { messageId } from "../../broker-core/record/message-record.ts";
import { readRedriveRecord } from "../../broker-core/record/redrive-record.ts";
import { releaseCarriesMessage, releaseMessagePosition } from "../../broker-core/record/release-record.ts";
import { timedMessageStart } from "../../broker-core/record/timed-record.ts";
import { Code } from "../../proto/code.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { busyHistories } from "./broker-commands.ts";
import type { Got } from "./broker-fixture.ts";
import { type BrokerTruth, type GroupTruth, queueCount, topicName } from "./broker-model.ts";
import { BrokerRun } from "./broker-run.ts";
import fc, { assertUntil, tooSeldom } from "./seeded-fast-check.ts";

/*
 * Damage of records that a start replays (B10, T02 for whole brokers): a random history, at rest; some of its records are lost; a
 * broker starts on what is left. What must hold:
 *
 * - it starts, and what it makes of the log is always the same (B11): again, from a checkpoint, and after it has gone on;
 * - every message that is left comes to every group that has not settled it, with its bytes and at its offset;
 * - none comes whose ack is left;
 * - message groups keep their order, and one of them is out at a time;
 * - offsets that a later record speaks of are not given out again, and what is lost is named.
 */

/** What runs did, so that a run that did too little fails. */
export const damageCountsBlank = { lost: 0, lostMessages: 0, pending: 0, acked: 0, named: 0, goneOn: 0 };
export type DamageCounts = typeof damageCountsBlank;

/** `least`: how often each of these must have come about; else there are more runs. */
export function checkBrokerDamage(runs: number, commandsMax: number, least: number): DamageCounts {
  const total = { ...damageCountsBlank };
  assertUntil(
    fc.property(busyHistories(commandsMax), fc.integer(), fc.nat(3), (commands, damageSeed, kind) => {
      const run = new BrokerRun();
      fc.modelRun(() => ({ model: {}, real: run }), commands);
      // Whom a sync wakes it hands messages to.
      do run.sync();
      while (run.real.log.durablePosition < run.real.log.endPosition);
      try {
        checkDamaged(run, new SeededRandomness(damageSeed >>> 0), kind, total);
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.stack : String(error)}\n${scriptOf(run)}`);
      }
    }),
    runs,
    () => tooSeldom(total, least).length === 0,
  );
  return total;
}

function checkDamaged(run: BrokerRun, randomness: SeededRandomness, kind: number, total: DamageCounts): void {
  const { real } = run;
  const truth = run.truth();
  const records = copiesOf(real.log.records());
  const base = new BrokerRunStart(run).position;
  const replayed = records.filter(({ position }) => position >= base);
  if (replayed.length === 0) return;
  for (const { position } of chooseLost(replayed, randomness, kind)) {
    real.lost.add(position);
    real.log.damaged.add(position);
  }
  total.lost += real.lost.size;
  real.log.crash("kill");
  // Whatever the start itself writes, a release that is due, it writes in knowledge of what is lost.
  real.knownFrom = real.log.endPosition;
  real.start();
  const { messages: named, notes } = real.state.damageConsequences;
  const unfit = Object.keys(notes).filter((note) => note.endsWith("which has one"));
  assert.deepEqual(unfit, [], "an offset was given out twice");
  for (const { count } of named) total.named += count;
  assertSame(real.state, () => real.rebuild(), "a second start makes something else of the log");
  assertSame(
    real.state,
    () => real.rebuild(real.state.snapshot()),
    "a start from a checkpoint makes something else of it",
  );

  const left = new LeftOver(records, real.lost);
  for (const group of truth.groups) checkNamed(group, left, named, base);
  // So that nothing waits for its time any more.
  real.wallMs = Math.max(real.wallMs, ...truth.timed.map(({ dueMs }) => dueMs));
  for (const group of truth.groups) {
    const opened = openAgain(run, truth, group);
    drain(run, opened, truth, group, left, total);
    assertSame(real.state, () => real.rebuild(), "having gone on, the next start makes something else of the log");
    total.goneOn++;
  }
}

const typeNames = new Map<number, string>(Object.entries(RecordType).map(([name, type]) => [type, name]));

/** The records, and which of them are lost, so that a counterexample can be read. */
function scriptOf({ real }: BrokerRun): string {
  const lines = [...real.log.records()].map(
    ({ position, type }) => `${real.lost.has(position) ? "LOST " : ""}${typeNames.get(type)} ${position}`,
  );
  return `${lines.join("; ")}\n${JSON.stringify(real.state.damageConsequences)}`;
}

/** Where a start without a checkpoint begins. */
class BrokerRunStart {
  readonly position: number;

  constructor({ real }: BrokerRun) {
    const { log } = real;
    const end = log.endPosition;
    this.position = real.base === undefined ? 0 : real.rebuild(undefined).logBegin;
    // What that start released, after a jump of the clock, the live state does not know: it never was.
    if (log.endPosition > end) log.cut(end);
  }
}

/** 0: a few single records. 1: a stretch, as of a lost sector. 2: several stretches. 3: half of the log. */
function chooseLost(records: readonly LogRecord[], randomness: SeededRandomness, kind: number): readonly LogRecord[] {
  const at = () => randomIndex(randomness, records.length);
  const stretch = (longest: number) => {
    const from = at();
    return records.slice(from, from + 1 + randomIndex(randomness, longest));
  };
  if (kind === 0)
    return Array.from({ length: 1 + randomIndex(randomness, 3) }, () => oneOfAnyType(records, randomness));
  if (kind === 1) return stretch(12);
  if (kind === 2) return [...stretch(6), ...stretch(6), ...stretch(6)];
  return stretch(Math.ceil(records.length / 2));
}

/** Each type that is there is as likely as another. */
function oneOfAnyType(records: readonly LogRecord[], randomness: SeededRandomness): LogRecord {
  const types = [...new Set(records.map(({ type }) => type))];
  const type = types[randomIndex(randomness, types.length)];
  const ofType = records.filter((record) => record.type === type);
  return ofType[randomIndex(randomness, ofType.length)]!;
}

function assertSame(live: BrokerState, rebuild: () => BrokerState, what: string): void {
  assert.ok(rebuild().dump().equals(live.dump()), what);
}

function copiesOf(records: Iterable<LogRecord>): LogRecord[] {
  return Array.from(records, (record) => ({ ...record, body: Buffer.from(record.body) }));
}

/** What of a history is left. */
class LeftOver {
  readonly #lost: ReadonlySet<number>;
  readonly #byPosition: ReadonlyMap<number, LogRecord>;
  readonly #lastAcked = new Set<string>();

  constructor(records: readonly LogRecord[], lost: ReadonlySet<number>) {
    this.#lost = lost;
    this.#byPosition = new Map(records.map((record) => [record.position, record]));
    for (const { position, type, body } of records) {
      if (type !== RecordType.Ack) continue;
      for (let i = 0, at = ack.ackFixedBytes; i < ack.ackCount(body, 0); i++, at += ack.ackEntryBytes) {
        const key = [
          ack.ackGroupId(body, 0),
          ack.ackTopicId(body, 0),
          ack.ackQueueId(body, at),
          ack.ackOffset(body, at),
        ];
        if (lost.has(position)) this.#lastAcked.delete(key.join());
        else this.#lastAcked.add(key.join());
      }
    }
  }

  /** Whether the record at `position`, by which a message is in its queue, is left, and so is the message. */
  hasMessage(position: number | undefined): boolean {
    if (position === undefined) return false;
    // The model knows of some messages only that their record holds this position.
    const record = [...this.#byPosition.values()].find((at) => at.position <= position && position < at.nextPosition);
    if (record === undefined || this.#lost.has(record.position)) return false;
    if (record.type !== RecordType.Commit && record.type !== RecordType.Due) return true;
    return releaseCarriesMessage(record.body, 0) || !this.#lost.has(releaseMessagePosition(record.body, 0));
  }

  /** Whether a record of this type (of this group) is lost: what it said is not known. */
  hasLost(type: RecordType, groupId?: number): boolean {
    return [...this.#lost].some((position) => {
      const record = this.#byPosition.get(position);
      return record?.type === type && (groupId === undefined || record.body.readUInt32LE(0) === groupId);
    });
  }

  /** Whether a record is left that holds a timed message. */
  hasTimed(id: string): boolean {
    for (const { position, type, body } of this.#byPosition.values()) {
      if (this.#lost.has(position)) continue;
      if (type === RecordType.TimedMessage && messageId(body, timedMessageStart(0)) === id) return true;
      if (type === RecordType.Carry && messageId(body, carryMessageStart(0)) === id) return true;
    }
    return false;
  }

  /** Whether anything is left that speaks of a group: all of them have its number first. */
  knows(groupId: number): boolean {
    const types: readonly RecordType[] = [
      ...[RecordType.GroupOpened, RecordType.GroupChanged, RecordType.CursorOpened, RecordType.CursorReset],
      ...[RecordType.Pop, RecordType.Ack, RecordType.Change, RecordType.DeadLetter, RecordType.Redrive],
    ];
    return [...this.#byPosition.values()].some(
      ({ position, type, body }) =>
        types.includes(type) && body.readUInt32LE(0) === groupId && !this.#lost.has(position),
    );
  }

  /** Whether the youngest ack of a message is left: a reset or a redrive may lie between it and an earlier one. */
  hasLastAck(groupId: number, topicId: number, queueId: number, offset: number): boolean {
    return this.#lastAcked.has([groupId, topicId, queueId, offset].join());
  }

  /** Whether the record is lost that gave this message back to its group: by all that is known it is settled. */
  hasLostRedrive(groupId: number, topicId: number, queueId: number, offset: number): boolean {
    return [...this.#byPosition.values()].some(({ position, type, body }) => {
      if (type !== RecordType.Redrive || !this.#lost.has(position)) return false;
      const redrive = readRedriveRecord(body, 0, body.length);
      return (
        redrive.groupId === groupId &&
        redrive.topicId === topicId &&
        redrive.queueId === queueId &&
        redrive.offset === offset
      );
    });
  }

  /** Whether a record is left by which a message died. */
  hasDeadLetter(groupId: number, topicId: number, queueId: number, offset: number): boolean {
    return this.#deaths(groupId, topicId, queueId, offset).some((position) => !this.#lost.has(position));
  }

  /** Whether the record is left by which a message died last: it may have been redriven before. */
  hasLastDeadLetter(groupId: number, topicId: number, queueId: number, offset: number): boolean {
    const last = this.#deaths(groupId, topicId, queueId, offset).at(-1);
    return last !== undefined && !this.#lost.has(last);
  }

  #deaths(groupId: number, topicId: number, queueId: number, offset: number): number[] {
    return [...this.#byPosition.values()].flatMap(({ position, type, body }) => {
      if (type !== RecordType.DeadLetter) return [];
      const dead = readDeadLetterRecord(body, 0, body.length);
      const isIts =
        dead.groupId === groupId && dead.topicId === topicId && dead.queueId === queueId && dead.offset === offset;
      return isIts ? [position] : [];
    });
  }
}

/** What is lost and lies before something that is left is named, and nothing else is. */
function checkNamed(
  group: GroupTruth,
  left: LeftOver,
  named: readonly { topic: string; queueId: number; firstOffset: number; count: number }[],
  base: number,
): void {
  const isNamed = (queueId: number, offset: number) =>
    named.some(
      (stretch) =>
        stretch.topic === "ns/orders" &&
        stretch.queueId === queueId &&
        stretch.firstOffset <= offset &&
        offset < stretch.firstOffset + stretch.count,
    );
  const lastLeft = new Map<number, number>();
  for (const { queueId, offset, position } of group.messages) {
    if (position >= base && left.hasMessage(position)) lastLeft.set(queueId, offset);
  }
  for (const { id, queueId, offset, position } of group.messages) {
    if (position < base) continue;
    const isLost = !left.hasMessage(position);
    if (isLost && offset < (lastLeft.get(queueId) ?? 0))
      assert.ok(isNamed(queueId, offset), `${id} is lost and not named`);
    if (!isLost) assert.ok(!isNamed(queueId, offset), `${id} is named as lost and is there`);
  }
}

interface OpenedAgain {
  readonly topicId: number;
  readonly groupId: number;
}

/** As sidecars do, by name; an operator helps where a group has lost its own. */
function openAgain({ real }: BrokerRun, { incarnation }: BrokerTruth, group: GroupTruth): OpenedAgain {
  const topicId = real.topic(topicName, { incarnation, queueCount });
  const { name, id, attemptsMax, inFlightMax: inflightMax } = group;
  const opening = { name, generation: 1, attemptsMax, inflightMax: inflightMax === 20_000 ? 0 : inflightMax };
  const backoff = { delaysMs: [1000, 5000], initialMs: 0, maxMs: 0, multiplier: 0 };
  const first = real.state.openGroup({ ...opening, backoff }, real.now);
  if (!first.ok) {
    assert.match(first.message, /the name of group \d+ is lost .* "group.adopt"/);
    const call = { group: name, groupId: id };
    const adopted = real.state.operate("group.adopt", call, real.now);
    assert.ok(!(adopted instanceof Promise));
    if (!adopted.ok) {
      assert.match(adopted.message, /has not lost its name; those are/);
      real.operate("group.adopt", { group: name });
    }
  }
  const groupId = real.group(name, opening);
  real.sync();
  return { topicId, groupId };
}

/** Consumes until nothing is left and holds what comes against what must and what must not. */
function drain(
  run: BrokerRun,
  { topicId, groupId }: OpenedAgain,
  truth: BrokerTruth,
  group: GroupTruth,
  left: LeftOver,
  total: DamageCounts,
): void {
  const { real } = run;
  const got: Got[] = [];
  const { filter } = group;
  const { timed } = truth;
  // What waits by the base image and whose record is lost comes out without content, and so into the dead letters, where it is seen.
  const emptyMax = timed.filter(({ messageId }) => !left.hasTimed(messageId)).length;
  for (let round = 0, idle = 0; idle < 2; round++) {
    assert.ok(round < 500, `${group.name} never comes to an end`);
    // Leases of before end, and so do those that are left to end here.
    real.pass(13 * 3_600_000);
    const { ticket } = real.ask(topicId, groupId, { filter, clientId: "drain" });
    real.sync();
    const answer = real.answers.get(ticket);
    assert.ok(answer?.kind === "batch", answer?.kind === "refused" ? answer.message : "not answered");
    assert.ok(answer.damagedCount <= emptyMax, `${group.name} was given a message that is lost`);
    const keys = answer.got.map(({ group: key }) => key).filter((key) => key !== "");
    assert.equal(new Set(keys).size, keys.length, `several of a message group are out at ${group.name} (B7)`);
    got.push(...answer.got);
    for (const { id, receipt } of answer.got) {
      const { code, message } = real.ack(groupId, receipt);
      assert.equal(code, Code.Ok, `ack of ${id}: ${message}`);
    }
    real.sync();
    idle = answer.got.length === 0 ? idle + 1 : 0;
  }
  const died = new LeftOver(copiesOf(real.log.records()), real.lost);
  const byId = new Map(group.messages.map((message) => [message.id, message]));
  const seen = new Map<string, Got>();
  for (const delivery of got) {
    const message = byId.get(delivery.id);
    assert.ok(!seen.has(delivery.id), `${delivery.id} came twice`);
    seen.set(delivery.id, delivery);
    assert.equal(delivery.body, `body of ${delivery.id}`);
    // A timed message may wait again whose release or recall is lost.
    const isReleasedAnew =
      timed.some(({ messageId }) => messageId === delivery.id) && !left.hasMessage(message?.position);
    if (isReleasedAnew) continue;
    // A deleted topic lives on whose end is lost, if nothing is left that speaks of the one that came after it.
    if (message === undefined && left.hasLost(RecordType.TopicDropped)) continue;
    assert.ok(message !== undefined, `${delivery.id} was never sent, or its topic is gone`);
    assert.deepEqual([delivery.queueId, delivery.offset], [message.queueId, message.offset], "one offset, one message");
  }
  for (const { messageId: id, tag, state } of timed) {
    if (state !== "waiting" || (filter !== "*" && filter !== tag) || !left.knows(group.id)) continue;
    assert.equal(seen.has(id), left.hasTimed(id), `${id} waited for its time`);
  }
  for (const message of group.messages) {
    const { id, queueId, offset, position, standing } = message;
    if (!left.hasMessage(position)) {
      total.lostMessages++;
      assert.ok(!seen.has(id) || left.hasTimed(id), `${id} is lost and came`);
    } else if (standing === "pending" && left.knows(group.id)) {
      total.pending++;
      if (left.hasLost(RecordType.CursorReset, group.id)) continue;
      if (left.hasLostRedrive(group.id, truth.topicId, queueId, offset)) continue;
      // The lease that it had may have been its last.
      const hasDied = group.attemptsMax > 0 && died.hasDeadLetter(groupId, topicId, queueId, offset);
      assert.ok(seen.has(id) || hasDied, `${id} is left, and ${group.name} does not get it`);
    } else if (standing === "acked" && left.hasLastAck(group.id, truth.topicId, queueId, offset)) {
      total.acked++;
      assert.ok(!seen.has(id), `${id} was acked by ${group.name}, its ack is left, and it came again (B4)`);
    } else if (standing === "dead" && left.hasLastDeadLetter(group.id, truth.topicId, queueId, offset)) {
      assert.ok(!seen.has(id), `${id} is a dead letter of ${group.name}, its record is left, and it came again`);
    }
  }
}
