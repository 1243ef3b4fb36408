import assert from "node:assert/strict";
import { type LogRecord, RecordType } from "../../../../broker-core/commit-log/log.ts";
import * as carry from "../../../../broker-core/record/carry-record.ts";
import * as check from "../../../../broker-core/record/check-back-record.ts";
import * as half from "../../../../broker-core/record/half-message-record.ts";
import { messageId, messageRecordBytes, writeMessageRecord } from "../../../../broker-core/record/message-record.ts";
import * as recall from "../../../../broker-core/record/recall-record.ts";
import { RecordFault } from "../../../../broker-core/record/record-fault.ts";
import * as release from "../../../../broker-core/record/release-record.ts";
import * as rollback from "../../../../broker-core/record/rollback-record.ts";
import { holderPosition, readStoredMessage } from "../../../../broker-core/record/stored-message.ts";
import * as timed from "../../../../broker-core/record/timed-record.ts";
import fc from "../../../support/seeded-fast-check.ts";

const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffff_ffff);
const u53 = fc.nat(Number.MAX_SAFE_INTEGER);
const plain = { noNullPrototype: true } as const;

/** A message record whose id is `id`. */
function messageRecord(id: string): Buffer {
  const message = Buffer.from(`..${id}`);
  const record = Buffer.alloc(messageRecordBytes("", "", message));
  const facts = {
    ...{ tagHash: 0, tagStart: 0, tagLength: 0, groupHash: 0, groupStart: 0, groupLength: 0 },
    ...{ idStart: 2, idLength: id.length, messageType: 4, isTimed: false, deliveryMs: 0 },
    ...{
      sendPart: 0,
      priority: 0,
      recoveryMs: 0,
      ...{ mirrorTopicId: 0, mirrorQueueId: 0, mirrorOffset: 0 },
      hasLiteTopic: false,
    },
  };
  writeMessageRecord(record, 0, 1, 0, 0, 0, facts, "", "", message);
  return record;
}

function releaseBody(messagePosition: number, carried: Uint8Array): Buffer {
  const parts = { topicId: 1, queueId: 0, cause: 0, offset: 0, releasedMs: 5, number: 1, messageBytes: 0 };
  const whole = { ...parts, messagePosition, tagHash: 0, groupHash: 0, laneKey: 0, mirror: undefined };
  const body = Buffer.alloc(release.releaseRecordBytes(whole, carried));
  release.writeReleaseRecord(whole, carried, body, 0);
  return body;
}

function logOf(records: Readonly<Record<number, { type: RecordType; body: Buffer }>>) {
  return {
    read: (position: number): LogRecord => {
      const record = records[position];
      assert.ok(record, `nothing lies at ${position}`);
      return { ...record, position, nextPosition: position + 1 };
    },
  };
}

describe("records of messages that nobody sees yet", () => {
  it("come back as they were written: releases, with and without the message", () => {
    const releases = fc.record(
      {
        ...{ topicId: u32, queueId: u16, cause: fc.nat(255), offset: u53, releasedMs: u53, number: u53 },
        ...{ messagePosition: u53, messageBytes: u32, tagHash: u32, groupHash: u32, laneKey: fc.nat(0xffff) },
        mirror: fc.option(fc.record({ topicId: u32, queueId: u16, offset: u53 }, plain), { nil: undefined }),
      },
      plain,
    );
    fc.assert(
      fc.property(releases, fc.uint8Array(), (record, carried) => {
        const body = Buffer.alloc(release.releaseRecordBytes(record, carried) + 22, 0xa5);
        release.writeReleaseRecord(record, carried, body, 11);
        assert.deepEqual(release.readReleaseRecord(body, 11, body.length - 11), record);
        assert.equal(release.releaseCarriesMessage(body, 11), carried.length > 0);
        assert.deepEqual(
          [body[10], body[body.length - 11], body.subarray(release.releaseMessageStart(body, 11), body.length - 11)],
          [0xa5, 0xa5, Buffer.from(carried)],
        );
      }),
    );
  });

  it("come back as they were written: half messages, check-backs, rollbacks, carries", () => {
    fc.assert(
      fc.property(u53, u32, u32, u16, fc.double({ noNaN: true }), (number, run, ms, checks, wallMs) => {
        const bytes = Buffer.alloc(200);
        half.writeHalfHead(bytes, 3, number, run, ms);
        assert.deepEqual(
          [half.halfNumber(bytes, 3), half.halfRun(bytes, 3), half.halfFirstCheckMs(bytes, 3)],
          [number, run, ms],
        );
        check.writeCheckBack(bytes, 60, number, checks, ms);
        assert.deepEqual(
          [check.checkBackNumber(bytes, 60), check.checkBackCount(bytes, 60), check.checkBackNextMs(bytes, 60)],
          [number, checks, ms],
        );
        const record = { number, messagePosition: run, wallMs, reason: rollback.RollbackReason.Age, checks };
        rollback.writeRollbackRecord(record, bytes, 120);
        assert.deepEqual(rollback.readRollbackRecord(bytes, 120, 120 + rollback.rollbackBytes), record);
        carry.writeCarryRecord(RecordType.HalfMessage, number, Buffer.from("m"), bytes, 160);
        assert.deepEqual(
          [carry.carryKind(bytes, 160), carry.carryNumber(bytes, 160), bytes[carry.carryMessageStart(160)]],
          [RecordType.HalfMessage, number, 0x6d],
        );
      }),
    );
  });

  it("come back as they were written: timed messages and recalls", () => {
    fc.assert(
      fc.property(u53, u53, u32, fc.double({ noNaN: true }), (number, dueMs, topicId, wallMs) => {
        const bytes = Buffer.alloc(70, 0xa5);
        timed.writeTimedHead(bytes, 3, number, dueMs);
        assert.deepEqual([timed.timedNumber(bytes, 3), timed.timedDueMs(bytes, 3)], [number, dueMs]);
        assert.equal(timed.timedMessageStart(3), 3 + timed.timedFixedBytes);
        recall.writeRecallRecord(bytes, 30, number, topicId, wallMs, dueMs);
        assert.deepEqual(
          [recall.recallNumber(bytes, 30), recall.recallTopicId(bytes, 30), recall.recallWallMs(bytes, 30)],
          [number, topicId, wallMs],
        );
        assert.equal(recall.recallMessagePosition(bytes, 30), dueMs);
        assert.deepEqual([bytes[2], bytes[19], bytes[29], bytes[62]], [0xa5, 0xa5, 0xa5, 0xa5]);
      }),
    );
  });

  it("lead to the message from wherever an index entry points", () => {
    const halfBody = Buffer.concat([Buffer.alloc(half.halfFixedBytes), messageRecord("half")]);
    const carried = Buffer.alloc(carry.carryRecordBytes(messageRecord("carried")));
    carry.writeCarryRecord(RecordType.HalfMessage, 1, messageRecord("carried"), carried, 0);
    const log = logOf({
      1: { type: RecordType.Message, body: messageRecord("plain") },
      2: { type: RecordType.HalfMessage, body: halfBody },
      3: { type: RecordType.Carry, body: carried },
      4: { type: RecordType.Commit, body: releaseBody(2, Buffer.alloc(0)) },
      5: { type: RecordType.Commit, body: releaseBody(3, Buffer.alloc(0)) },
      6: { type: RecordType.Due, body: releaseBody(2, messageRecord("taken along")) },
      7: { type: RecordType.Ack, body: Buffer.alloc(18) },
      8: { type: RecordType.Commit, body: releaseBody(7, Buffer.alloc(0)) },
      9: {
        type: RecordType.TimedMessage,
        body: Buffer.concat([Buffer.alloc(timed.timedFixedBytes), messageRecord("timed")]),
      },
      10: { type: RecordType.Due, body: releaseBody(9, Buffer.alloc(0)) },
    });
    const idAt = (position: number) => {
      const { position: holder, body, start } = readStoredMessage(log, position);
      assert.equal(holderPosition(log.read(position)), holder);
      return [messageId(body, start), holder];
    };
    assert.deepEqual([1, 2, 3, 4, 5, 6, 9, 10].map(idAt), [
      ["plain", 1],
      ["half", 2],
      ["carried", 3],
      ["half", 2],
      ["carried", 3],
      ["taken along", 6],
      ["timed", 9],
      ["timed", 9],
    ]);
    for (const position of [7, 8]) assert.throws(() => readStoredMessage(log, position), RecordFault);
  });
});
