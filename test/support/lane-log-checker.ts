import assert from "node:assert/strict";
import { type LogRecord, RecordType } from "../../broker-core/commit-log/log.ts";
import { GroupLaneRule, LaneRuleSet } from "../../broker-core/lane/lane-rule-set.ts";
import { readLaneRule } from "../../broker-core/lane/lane-rule-shape.ts";
import { laneKeyOfRecord } from "../../broker-core/lane/message-lane.ts";
import * as ack from "../../broker-core/record/ack-record.ts";
import { readCursorOpened } from "../../broker-core/record/cursor-record.ts";
import { readCursorReset } from "../../broker-core/record/cursor-reset-record.ts";
import { readDeadLetterRecord } from "../../broker-core/record/dead-letter-record.ts";
import { readShortText } from "../../broker-core/record/fixed-bytes.ts";
import { readLaneEvent } from "../../broker-core/record/lane-event-record.ts";
import { readLaneRuleRecord } from "../../broker-core/record/lane-rule-record.ts";
import { readLanesSwitched } from "../../broker-core/record/lanes-switched-record.ts";
import { readLogTrimmed } from "../../broker-core/record/log-trimmed-record.ts";
import * as message from "../../broker-core/record/message-record.ts";
import * as pop from "../../broker-core/record/pop-record.ts";
import { readRedriveRecord } from "../../broker-core/record/redrive-record.ts";
import { readReleaseRecord } from "../../broker-core/record/release-record.ts";
import { readTopicRecord } from "../../broker-core/record/topic-record.ts";

interface Message {
  readonly queueId: number;
  readonly offset: number;
  readonly position: number;
  readonly groupHash: number;
  readonly tagHash: number;
  /** The lane by the rule in force where it lies, by the name of the group. */
  readonly laneFor: (group: string) => string;
}

interface Lane {
  isSpilled: boolean;
  isClosing: boolean;
  readonly starts: number[];
}

interface Reader {
  readonly name: string;
  readonly lanes: Map<string, Lane>;
  readonly standing: Map<Message, "pending" | "held" | "acked" | "dead">;
  /** Redriven: it has lost its turn. */
  readonly outOfTurn: Set<Message>;
}

/**
 * Reads the log of a broker with one topic and holds every record against what lanes promise, by plain maps. Of what a client was
 * given there is a record, so a log without a fault is a history without one.
 */
export class LaneLogChecker {
  readonly #topicId: number;
  readonly isOrdered: boolean;
  readonly #groups: ReadonlyMap<number, string>;
  /** By queue id. */
  readonly queues: Message[][] = [];
  readonly readers = new Map<number, Reader>();
  /** By group id: hash of the tag that its filter wants; 0: everything. */
  readonly wanted = new Map<number, number>();
  #rules: GroupLaneRule[] = [];
  readonly #read = pop.popReadBlank();
  begin = 0;
  /** The next record to be looked at is the first at this position or above. */
  next = 0;
  readonly counts = { delivered: 0, standIns: 0, spilled: 0, resumed: 0, closed: 0, inTurn: 0, kept: 0, switched: 0 };
  #areOff = false;

  constructor(topicId: number, isOrdered: boolean, groups: ReadonlyMap<number, string>) {
    this.#topicId = topicId;
    this.isOrdered = isOrdered;
    this.#groups = groups;
  }

  take({ type, position, body, nextPosition }: LogRecord): void {
    this.next = nextPosition;
    switch (type) {
      case RecordType.TopicOpened:
      case RecordType.TopicChanged: {
        const topic = readTopicRecord(body, 0, body.length);
        if (topic.topicId !== this.#topicId) break;
        while (this.queues.length < topic.queueCount) this.queues.push([]);
        for (const { lanes } of this.readers.values()) {
          for (const { starts } of lanes.values()) while (starts.length < this.queues.length) starts.push(0);
        }
        break;
      }
      case RecordType.Message:
        this.#message(position, body);
        break;
      case RecordType.TimedMessage:
      case RecordType.HalfMessage:
        break;
      case RecordType.Due:
      case RecordType.Commit: {
        const { topicId, queueId, offset, laneKey, groupHash, tagHash } = readReleaseRecord(body, 0, body.length);
        if (topicId !== this.#topicId) break;
        this.#add({ queueId, offset, position, groupHash, tagHash, laneFor: this.#byKey(laneKey) });
        break;
      }
      case RecordType.LaneRule: {
        const { group, name, number, rule } = readLaneRuleRecord(body, 0, body.length);
        this.#rules = this.#rules.filter((other) => other.group !== group);
        if (rule !== "") this.#rules.push(new GroupLaneRule(group, name, number, readLaneRule(rule)));
        for (const reader of this.readers.values())
          this.#arrange(
            reader,
            this.queues.map(({ length }) => length),
          );
        break;
      }
      case RecordType.CursorOpened: {
        const { topicId, groupId, offsets } = readCursorOpened(body, 0, body.length);
        if (topicId !== this.#topicId) break;
        const name = this.#groups.get(groupId)!;
        const reader: Reader = { name, lanes: new Map(), standing: new Map(), outOfTurn: new Set() };
        for (const [queueId, offset] of offsets.entries()) {
          for (const each of this.queues[queueId]!.slice(offset)) reader.standing.set(each, "pending");
        }
        this.readers.set(groupId, reader);
        this.#arrange(reader, offsets);
        break;
      }
      case RecordType.LanesSwitched:
        this.#areOff = readLanesSwitched(body, 0, body.length).isOff;
        this.counts.switched++;
        if (!this.#areOff) break;
        for (const { lanes } of this.readers.values()) for (const lane of lanes.values()) lane.isSpilled = true;
        break;
      case RecordType.LaneSpilled:
      case RecordType.LaneResumed:
      case RecordType.LaneClosed:
        this.#event(type, body);
        break;
      case RecordType.Pop:
        this.#popped(body);
        break;
      case RecordType.Ack:
        for (let i = 0, at = ack.ackFixedBytes; i < ack.ackCount(body, 0); i++, at += ack.ackEntryBytes) {
          this.#settle(
            ack.ackGroupId(body, 0),
            ack.ackTopicId(body, 0),
            ack.ackQueueId(body, at),
            ack.ackOffset(body, at),
            "acked",
          );
        }
        break;
      case RecordType.DeadLetter: {
        const dead = readDeadLetterRecord(body, 0, body.length);
        this.#settle(dead.groupId, dead.topicId, dead.queueId, dead.offset, "dead");
        break;
      }
      case RecordType.Redrive: {
        const redrive = readRedriveRecord(body, 0, body.length);
        const found = this.#find(redrive.queueId, redrive.offset);
        const reader = this.readers.get(redrive.groupId);
        if (found === undefined || reader === undefined) break;
        reader.standing.set(found, "held");
        reader.outOfTurn.add(found);
        break;
      }
      case RecordType.CursorReset: {
        const reset = readCursorReset(body, 0, body.length);
        const reader = this.readers.get(reset.groupId);
        if (reader === undefined) break;
        for (const { queueId, offset } of reset.queues) {
          for (const each of this.queues[queueId]!) {
            if (each.offset >= offset) reader.standing.set(each, "pending");
            else if (reader.standing.get(each) !== "dead") reader.standing.set(each, "acked");
            reader.outOfTurn.delete(each);
          }
          for (const { starts } of reader.lanes.values()) starts[queueId] = Math.min(starts[queueId]!, offset);
        }
        break;
      }
      case RecordType.LogTrimmed:
        this.begin = readLogTrimmed(body, 0, body.length).begin;
        break;
      default:
    }
  }

  /** Messages that a group is not done with. */
  unsettled(groupId: number): Message[] {
    const reader = this.readers.get(groupId);
    return [...(reader?.standing ?? [])]
      .filter(([each, standing]) => this.#concerns(groupId, each) && (standing === "pending" || standing === "held"))
      .map(([each]) => each);
  }

  openLanes(groupId: number): string[] {
    return [...(this.readers.get(groupId)?.lanes.keys() ?? [])];
  }

  #concerns(groupId: number, { position, tagHash }: Message): boolean {
    const wanted = this.wanted.get(groupId) ?? 0;
    return position >= this.begin && (wanted === 0 || wanted === tagHash);
  }

  #message(position: number, body: Buffer): void {
    if (message.messageTopicId(body, 0) !== this.#topicId) return;
    const key = laneKeyOfRecord(new LaneRuleSet(0, this.#rules), body, 0, body.length);
    this.#add({
      queueId: message.messageQueueId(body, 0),
      offset: message.messageOffset(body, 0),
      position,
      groupHash: message.messageGroupHash(body, 0),
      tagHash: message.messageTagHash(body, 0),
      laneFor: this.#byKey(key),
    });
  }

  #byKey(key: number): (group: string) => string {
    const set = new LaneRuleSet(0, this.#rules);
    return (group) => set.laneOf(key, group);
  }

  #add(added: Message): void {
    const queue = this.queues[added.queueId]!;
    assert.equal(added.offset, queue.length, "offsets are dense");
    queue.push(added);
    for (const { standing } of this.readers.values()) standing.set(added, "pending");
  }

  #arrange(reader: Reader, starts: readonly number[]): void {
    const named = new LaneRuleSet(0, this.#rules).ruleFor(reader.name)?.lanes.slice(1) ?? [];
    for (const [name, lane] of reader.lanes) lane.isClosing = !named.includes(name);
    for (const name of named) {
      if (!reader.lanes.has(name))
        reader.lanes.set(name, { isSpilled: this.#areOff, isClosing: false, starts: [...starts] });
    }
  }

  #event(type: RecordType, body: Buffer): void {
    const { groupId, lane: name } = readLaneEvent(body, 0, body.length);
    const reader = this.readers.get(groupId);
    const lane = reader?.lanes.get(name);
    assert.ok(reader !== undefined && lane !== undefined, `lane ${name} of group ${groupId} is there`);
    if (type === RecordType.LaneClosed) {
      assert.ok(lane.isClosing, `lane ${name} is closed while a rule names it`);
      const left = this.unsettled(groupId).filter((each) => this.#ownerOf(reader, each) === name);
      assert.deepEqual(
        left.map(({ queueId, offset }) => `${queueId}/${offset}`),
        [],
        `lane ${name} is closed and nothing of it is left`,
      );
      reader.lanes.delete(name);
      this.counts.closed++;
      return;
    }
    assert.equal(lane.isSpilled, type === RecordType.LaneResumed, `lane ${name} changes`);
    const rule = new LaneRuleSet(0, this.#rules).ruleFor(reader.name);
    const isWithdrawn = rule?.rule.withdrawn?.includes(name) ?? false;
    const isHeld = !lane.isClosing && !isWithdrawn && rule?.rule.whenEmpty.action === "hold";
    assert.ok(type !== RecordType.LaneResumed || !isWithdrawn, `lane ${name} is resumed, and its rule takes it back`);
    assert.ok(type !== RecordType.LaneSpilled || !isHeld, `lane ${name} is spilled, and its rule holds it`);
    assert.ok(type !== RecordType.LaneResumed || !this.#areOff, `lane ${name} is resumed while lanes are off`);
    lane.isSpilled = type === RecordType.LaneSpilled;
    this.counts[lane.isSpilled ? "spilled" : "resumed"]++;
  }

  #ownerOf(reader: Reader, { queueId, offset, laneFor }: Message): string {
    const name = laneFor(reader.name);
    const lane = reader.lanes.get(name);
    return lane !== undefined && offset >= lane.starts[queueId]! ? name : "base";
  }

  #popped(body: Buffer): void {
    const read = this.#read;
    pop.readPopRecord(body, 0, body.length, read);
    const reader = this.readers.get(read.groupId);
    if (read.topicId !== this.#topicId || reader === undefined) return;
    const asked = readShortText(body, read.laneAt);
    const taken = new LaneRuleSet(0, this.#rules).ruleFor(reader.name)?.rule.withdrawn ?? [];
    const isOwn = reader.lanes.has(asked) && (!this.#areOff || taken.includes(asked));
    const consumer = isOwn ? asked : "base";
    const from = read.ownerAt < 0 ? "base" : readShortText(body, read.ownerAt);
    this.counts.kept += read.keptCount;
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
      const found = this.#find(pop.popEntryQueueId(body, at), pop.popEntryOffset(body, at));
      if (found === undefined || found.position < this.begin) continue;
      const where: string = `queue ${found.queueId}, offset ${found.offset} of ${reader.name} for ${consumer}`;
      const owner: string = this.#ownerOf(reader, found);
      assert.equal(from, owner, `${where}: whose it is`);
      const isStandIn = owner !== consumer;
      assert.ok(
        !isStandIn || (consumer === "base" && reader.lanes.get(owner)?.isSpilled),
        `${where}: it is of ${owner}`,
      );
      const rule = new LaneRuleSet(0, this.#rules).ruleFor(reader.name);
      const isWithdrawn = rule?.rule.withdrawn?.includes(consumer) === true && reader.lanes.has(consumer);
      assert.ok(!isWithdrawn, `${where}: its rule takes that lane back`);
      const standing = reader.standing.get(found);
      assert.ok(standing === "pending" || standing === "held", `${where}: it is ${standing}`);
      this.counts.delivered++;
      if (isStandIn) this.counts.standIns++;
      if (this.isOrdered && found.groupHash !== 0 && !reader.outOfTurn.has(found))
        this.#checkTurn(read.groupId, reader, found, where);
      reader.standing.set(found, "held");
    }
  }

  #checkTurn(groupId: number, reader: Reader, found: Message, where: string): void {
    this.counts.inTurn++;
    for (const earlier of this.queues[found.queueId]!.slice(0, found.offset)) {
      if (earlier.groupHash !== found.groupHash || !this.#concerns(groupId, earlier) || reader.outOfTurn.has(earlier))
        continue;
      const standing = reader.standing.get(earlier) ?? "acked";
      assert.ok(
        standing === "acked" || standing === "dead",
        `${where}: offset ${earlier.offset} comes first, and is ${standing}`,
      );
    }
  }

  #settle(groupId: number, topicId: number, queueId: number, offset: number, as: "acked" | "dead"): void {
    const reader = this.readers.get(groupId);
    const found = topicId === this.#topicId ? this.#find(queueId, offset) : undefined;
    if (reader !== undefined && found !== undefined) reader.standing.set(found, as);
  }

  #find(queueId: number, offset: number): Message | undefined {
    return this.queues[queueId]?.[offset];
  }
}
