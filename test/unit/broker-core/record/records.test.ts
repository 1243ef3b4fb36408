import assert from "node:assert/strict";
import * as change from "../../../../broker-core/record/change-record.ts";
import {
  cursorOpenedBytes,
  readCursorOpened,
  writeCursorOpened,
} from "../../../../broker-core/record/cursor-record.ts";
import * as dead from "../../../../broker-core/record/dead-letter-record.ts";
import * as fixed from "../../../../broker-core/record/fixed-bytes.ts";
import { bootNumber } from "../../../../broker-core/record/granted-at.ts";
import * as group from "../../../../broker-core/record/group-record.ts";
import * as message from "../../../../broker-core/record/message-record.ts";
import * as pop from "../../../../broker-core/record/pop-record.ts";
import * as topic from "../../../../broker-core/record/topic-record.ts";
import fc from "../../../support/seeded-fast-check.ts";

const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffff_ffff);
const u53 = fc.nat(Number.MAX_SAFE_INTEGER);
const ms = fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 });
const plain = { noNullPrototype: true } as const;
const text = fc.string({ maxLength: 60, unit: "grapheme" }).filter((t) => Buffer.byteLength(t) <= 255);

/** Writes into the middle of a buffer, checks that nothing else was touched, and reads it back from there. */
function trip<T>(
  length: number,
  write: (into: Buffer, at: number) => void,
  read: (from: Buffer, s: number, e: number) => T,
): T {
  const at = 11;
  const into = Buffer.alloc(length + 2 * at, 0xa5);
  write(into, at);
  assert.ok(
    into.subarray(0, at).every((byte) => byte === 0xa5) && into.subarray(at + length).every((byte) => byte === 0xa5),
  );
  return read(into, at, at + length);
}

describe("records come back as they were written", () => {
  it("topics", () => {
    const topics = fc.record({ topicId: u32, queueCount: u16, messageTypes: u32, incarnation: u53, name: text }, plain);
    fc.assert(
      fc.property(topics, (record) => {
        const read = trip(
          topic.topicRecordBytes(record),
          (b, at) => topic.writeTopicRecord(record, b, at),
          topic.readTopicRecord,
        );
        assert.deepEqual(read, { ...record });
      }),
    );
  });

  it("groups", () => {
    const groups = fc.record({
      ...{ groupId: u32, name: text, generation: u53, attemptsMax: u32, inflightMax: u32 },
      ...{ initialMs: ms, maxMs: ms, multiplier: ms, delaysMs: fc.array(ms, { maxLength: 64 }) },
    });
    fc.assert(
      fc.property(groups, (record) => {
        const read = trip(
          group.groupRecordBytes(record),
          (b, at) => group.writeGroupRecord(record, b, at),
          group.readGroupRecord,
        );
        assert.deepEqual(read, { ...record });
      }),
    );
  });

  it("cursors", () => {
    const names = { groupName: text, topicName: text };
    const cursors = fc.record({ groupId: u32, topicId: u32, wallMs: ms, offsets: fc.array(u53), ...names }, plain);
    fc.assert(
      fc.property(cursors, (record) => {
        const read = trip(cursorOpenedBytes(record), (b, at) => writeCursorOpened(record, b, at), readCursorOpened);
        assert.deepEqual(read, { ...record });
      }),
    );
  });

  it("dead letters", () => {
    const deads = fc.record({
      ...{ groupId: u32, topicId: u32, queueId: u16, reason: fc.nat(255), offset: u53, generation: u53 },
      ...{
        deadTopicId: u32,
        deadQueueId: u16,
        deadOffset: u53,
        attempts: u16,
        messagePosition: u53,
        deadMs: ms,
        firstPopMs: ms,
      },
      ...{ messageBytes: u32, tagHash: u32, groupHash: u32 },
      ...{ originTopic: text, messageId: text, lastHolder: text, lane: text },
      laneRule: fc.option(fc.record({ name: text, number: u53 }, plain), { nil: undefined }),
    });
    fc.assert(
      fc.property(deads, (record) => {
        for (const carried of [Buffer.alloc(0), Buffer.from("a message record")]) {
          const read = trip(
            dead.deadLetterRecordBytes(record, carried),
            (b, at) => dead.writeDeadLetterRecord(record, carried, b, at),
            (b, start, end) => {
              const messageAt = dead.deadLetterMessageStart(b, start);
              assert.equal(messageAt < 0 ? "" : b.toString("utf8", messageAt, end), carried.toString());
              return dead.readDeadLetterRecord(b, start, end);
            },
          );
          const { laneRule, ...rest } = record;
          assert.deepEqual(read, laneRule === undefined ? rest : { ...rest, laneRule });
        }
      }),
    );
  });

  it("changes, but for the time, which is written beside", () => {
    fc.assert(
      fc.property(
        u32,
        u32,
        u16,
        fc.nat(255),
        u53,
        u53,
        u32,
        u16,
        u32,
        (g, t, q, kind, offset, generation, invisibleMs, attempt, run) => {
          const read = change.changeReadBlank();
          trip(
            change.changeRecordBytes,
            (b, at) => change.writeChangeRecord(b, at, g, t, q, kind, offset, generation, invisibleMs, attempt, run),
            (b, s, e) => change.readChangeRecord(b, s, e, read),
          );
          const { groupId, topicId, queueId } = read;
          assert.deepEqual(
            [
              groupId,
              topicId,
              queueId,
              read.kind,
              read.offset,
              read.generation,
              read.invisibleMs,
              read.attempt,
              read.run,
            ],
            [g, t, q, kind, offset, generation, invisibleMs, attempt, run],
          );
        },
      ),
    );
  });

  it("hand-outs", () => {
    const delivery = fc.record({ queueId: u16, offset: u53, generation: u53, attempt: u16 }, plain);
    const pops = fc.record({
      ...{ groupId: u32, topicId: u32, invisibleMs: u32, run: u32, client: text, attempt: text, lane: text },
      ...{ cursors: fc.array(fc.record({ queueId: u16, offset: u53 }, plain)), deliveries: fc.array(delivery) },
      passes: fc.array(fc.record({ queueId: u16, offset: u53, count: u32 }, plain)),
    });
    fc.assert(
      fc.property(pops, (record) => {
        const { groupId, topicId, invisibleMs, run, client, attempt, lane, cursors, deliveries, passes } = record;
        const read = pop.popReadBlank();
        const write = (b: Buffer, start: number) => {
          let at = pop.writePopHead(
            ...[b, start, groupId, topicId, invisibleMs, cursors.length, deliveries.length, passes.length],
            ...[run, client, attempt, lane],
          );
          for (const c of cursors) at = pop.writePopCursor(b, at, c.queueId, c.offset);
          for (const d of deliveries) at = pop.writePopDelivery(b, at, d.queueId, d.offset, d.generation, d.attempt);
          for (const p of passes) at = pop.writePopPass(b, at, p.queueId, p.offset, p.count);
        };
        const counts = [cursors.length, deliveries.length, passes.length] as const;
        trip(pop.popRecordBytes(client, attempt, lane, ...counts), write, (b, start, end) => {
          pop.readPopRecord(b, start, end, read);
          assert.deepEqual(
            [read.groupId, read.topicId, read.invisibleMs, read.run],
            [groupId, topicId, invisibleMs, run],
          );
          assert.deepEqual([read.cursorCount, read.deliveryCount, read.passCount], counts);
          assert.deepEqual(
            passes,
            passes.map((_, i) => {
              const at = read.passesAt + i * pop.popPassBytes;
              const [queueId, offset] = [pop.popEntryQueueId(b, at), pop.popEntryOffset(b, at)];
              return { queueId, offset, count: pop.popPassedCount(b, at) };
            }),
          );
          assert.deepEqual(
            [read.clientAt, read.attemptAt, read.laneAt].map((at) => fixed.readShortText(b, at)),
            [client, attempt, lane],
          );
          for (const [i, c] of cursors.entries()) {
            const at = read.cursorsAt + i * pop.popCursorBytes;
            assert.deepEqual({ queueId: pop.popEntryQueueId(b, at), offset: pop.popEntryOffset(b, at) }, c);
          }
          for (const [i, d] of deliveries.entries()) {
            const at = read.deliveriesAt + i * pop.popDeliveryBytes;
            const { popEntryQueueId: queue, popEntryOffset: offset } = pop;
            const generation = pop.popDeliveryGeneration(b, at);
            assert.deepEqual(
              { queueId: queue(b, at), offset: offset(b, at), generation, attempt: pop.popDeliveryAttempt(b, at) },
              d,
            );
          }
        });
      }),
    );
  });

  it("messages: the head, the texts, and the client's bytes untouched", () => {
    fc.assert(
      fc.property(
        u32,
        u16,
        u53,
        u53,
        text,
        text,
        fc.uint8Array({ minLength: 20, maxLength: 400 }),
        (t, q, offset, storeMs, lane, host, body) => {
          const facts: message.MessageFacts = {
            ...{ tagHash: 5, tagStart: 3, tagLength: 4, groupHash: 9, groupStart: 0, groupLength: 0 },
            ...{ idStart: 8, idLength: 2, messageType: 1, isTimed: false, deliveryMs: 0 },
            ...{
              sendPart: 0,
              priority: 0,
              recoveryMs: 0,
              ...{ mirrorTopicId: 0, mirrorQueueId: 0, mirrorOffset: 0 },
              hasLiteTopic: false,
            },
          };
          trip(
            message.messageRecordBytes(lane, host, body),
            (b, at) => message.writeMessageRecord(b, at, t, q, offset, storeMs, facts, lane, host, body),
            (b, s, e) => {
              assert.deepEqual(
                [
                  message.messageTopicId(b, s),
                  message.messageQueueId(b, s),
                  message.messageOffset(b, s),
                  message.messageStoreMs(b, s),
                ],
                [t, q, offset, storeMs],
              );
              assert.deepEqual([message.messageTagHash(b, s), message.messageGroupHash(b, s)], [5, 9]);
              assert.deepEqual([message.messageLaneMark(b, s), message.messageBornHost(b, s)], [lane, host]);
              assert.deepEqual(Buffer.from(b.subarray(message.messageBodyStart(b, s), e)), Buffer.from(body));
              assert.equal(message.messageTagEquals(b, s, body.subarray(3, 7)), true);
              assert.equal(message.messageTagEquals(b, s, body.subarray(3, 6)), false);
              assert.equal(
                message.messageTagEquals(
                  b,
                  s,
                  body.subarray(3, 7).map((byte) => byte ^ 1),
                ),
                false,
              );
              assert.equal(message.messageId(b, s), Buffer.from(body.subarray(8, 10)).toString());
            },
          );
        },
      ),
    );
  });

  it("texts longer than a record holds are cut at a character, and the same cut is made where they are compared", () => {
    for (const long of ["x".repeat(300), "ü".repeat(200), `a${"ü".repeat(200)}`, "😀".repeat(80)]) {
      const cut = fixed.cutText(long);
      assert.ok(Buffer.byteLength(cut) <= 255 && Buffer.byteLength(cut) >= 252 && long.startsWith(cut));
      assert.equal(fixed.cutText(cut), cut);
      assert.equal(
        trip(
          fixed.shortTextBytes(long),
          (b, at) => void fixed.writeShortText(b, at, long),
          fixed.readShortText,
        ).trimEnd(),
        cut,
      );
    }
  });

  it("boots get different numbers", () => {
    const numbers = new Set(Array.from({ length: 10_000 }, (_, i) => bootNumber(`boot-${i}`)));
    assert.equal(numbers.size, 10_000);
  });
});
