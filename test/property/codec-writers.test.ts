import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { apache } from "#codec/rocketmq-v2";
import type { Code } from "../../proto/code.ts";
import { AckMessageResponseWriter } from "../../proto/codec/ack-message.ts";
import { changeResponseBytes, writeChangeResponse } from "../../proto/codec/change-invisible-duration.ts";
import * as body from "../../proto/codec/frame-body.ts";
import {
  receiveStatusBytes,
  receiveTimestampBytes,
  writeReceiveStatus,
  writeReceiveTimestamp,
} from "../../proto/codec/receive-message.ts";
import { SendMessageResponseWriter } from "../../proto/codec/send-message.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { pick } from "../support/random-message.ts";
import { withSeed } from "../support/test-seed.ts";

const v2 = apache.rocketmq.v2;
const v1 = popmesh.v1;
const runs = 1500;

/** Every writer must give byte for byte what the general codec gives for the same values. */
describe("the hot writers", () => {
  it("write a SendMessageResponse", () => {
    const writer = new SendMessageResponseWriter();
    everyRun((random) => {
      const status = { code: random.code(), message: random.text() };
      const entries = random.list(() => ({
        status: { code: random.code(), message: random.text() },
        messageId: random.text(),
        transactionId: random.text(),
        offset: random.number(),
        recallHandle: random.text(),
      }));
      writer.begin(status.code, status.message);
      for (const entry of entries) {
        const ids = Buffer.from(`..${entry.messageId}..`);
        writer.addEntry(
          entry.status.code,
          entry.status.message,
          ids,
          2,
          ids.length - 2,
          entry.offset,
          entry.transactionId,
          entry.recallHandle,
        );
      }
      const written = exactly(writer.length, (into, at) => {
        writer.copyTo(into, at);
        return at + writer.length;
      });
      assert.deepEqual(written, v2.SendMessageResponse.encode({ status, entries }).finish());
    });
  });

  it("write an AckMessageResponse", () => {
    const writer = new AckMessageResponseWriter();
    everyRun((random) => {
      const status = { code: random.code(), message: random.text() };
      const entries = random.list(() => ({
        messageId: random.text(),
        receiptHandle: random.text(),
        status: { code: random.code(), message: random.text() },
      }));
      writer.begin(status.code, status.message);
      for (const entry of entries) {
        const idEnd = 1 + Buffer.byteLength(entry.messageId);
        const echo = Buffer.from(`.${entry.messageId}${entry.receiptHandle}.`);
        writer.addEntry(entry.status.code, entry.status.message, echo, 1, idEnd, idEnd, echo.length - 1);
      }
      const written = exactly(writer.length, (into, at) => {
        writer.copyTo(into, at);
        return at + writer.length;
      });
      assert.deepEqual(written, v2.AckMessageResponse.encode({ status, entries }).finish());
    });
  });

  it("write a ChangeInvisibleDurationResponse, and the status and the timestamp of a ReceiveMessageResponse", () => {
    everyRun((random) => {
      const [code, message, receiptHandle, ms] = [random.code(), random.text(), random.text(), random.timeMs()];
      assert.deepEqual(
        exactly(changeResponseBytes(code, message, receiptHandle), (into, at) =>
          writeChangeResponse(into, at, code, message, receiptHandle),
        ),
        v2.ChangeInvisibleDurationResponse.encode({ status: { code, message }, receiptHandle }).finish(),
      );
      assert.deepEqual(
        exactly(receiveStatusBytes(code, message), (into, at) => writeReceiveStatus(into, at, code, message)),
        v2.ReceiveMessageResponse.encode({ status: { code, message } }).finish(),
      );
      const deliveryTimestamp = { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 };
      assert.deepEqual(
        exactly(receiveTimestampBytes(ms), (into, at) => writeReceiveTimestamp(into, at, ms)),
        v2.ReceiveMessageResponse.encode({ deliveryTimestamp }).finish(),
      );
    });
  });

  it("write the bodies of Send frames", () => {
    everyRun((random) => {
      const message = random.list(() => random.bytes());
      const groupSpread = random.number();
      const request = {
        ...{ topicId: random.number32(), laneMark: random.text(), bornHost: random.text(), message, groupSpread },
        earlierHome: groupSpread % 2 === 1,
      };
      const { topicId, laneMark, bornHost, earlierHome } = request;
      assert.deepEqual(
        atMost(body.sendRequestBytesMax(laneMark, bornHost, message, groupSpread), (into, at) =>
          body.writeSendRequest(into, at, topicId, laneMark, bornHost, message, groupSpread, earlierHome),
        ),
        v1.SendRequest.encode(request).finish(),
      );
      const answer = {
        ...{ queueId: random.number32(), firstOffset: random.number(), storeMs: random.number() },
        recallHandle: random.list(() => random.text()),
        transactionId: random.text(),
      };
      const { transactionId, recallHandle } = answer;
      assert.deepEqual(
        atMost(body.sendAnswerBytesMax(transactionId, recallHandle), (into, at) =>
          body.writeSendAnswer(
            ...([into, at, answer.queueId, answer.firstOffset, answer.storeMs, transactionId, recallHandle] as const),
          ),
        ),
        v1.SendAnswer.encode(answer).finish(),
      );
    });
  });

  it("write the bodies of Receive frames", () => {
    everyRun((random) => {
      const request = {
        topicId: random.number32(),
        groupId: random.number32(),
        batch: random.number32(),
        invisibleMs: random.number(),
        waitMs: random.number(),
        filterType: random.number32(),
        filter: random.text(),
        clientId: random.text(),
        attemptId: random.text(),
        lane: random.text(),
        bytesMax: random.number32(),
      };
      assert.deepEqual(
        atMost(body.receiveRequestBytesMax(request), (into, at) => body.writeReceiveRequest(into, at, request)),
        v1.ReceiveRequest.encode(request).finish(),
      );
      const deliveries = random.list(() => delivery(random));
      const room = deliveries.reduce((bytes, one) => bytes + body.deliveryBytesMax(one), 0);
      const written = atMost(room, (into, at) => {
        for (const one of deliveries) at = body.writeDelivery(into, at, one);
        return at;
      });
      const plain = deliveries.map((one) => ({
        ...one,
        message: one.message.subarray(one.messageStart, one.messageEnd),
        receipt: Buffer.from(one.receipt),
      }));
      assert.deepEqual(written, v1.ReceiveAnswer.encode({ delivery: plain }).finish());
    });
  });

  it("write the bodies of Ack and Change frames", () => {
    everyRun((random) => {
      const groupId = random.number32();
      const receipts = random.list(() => random.text());
      assert.deepEqual(
        atMost(body.ackRequestBytesMax(receipts), (into, at) => body.writeAckRequest(into, at, groupId, receipts)),
        v1.AckRequest.encode({ groupId, receipt: receipts.map((text) => Buffer.from(text)) }).finish(),
      );
      const results = random.list(() => ({ code: random.code(), message: random.text(), receipt: random.text() }));
      const room = results.reduce((bytes, { message, receipt }) => bytes + body.resultBytesMax(message, receipt), 0);
      assert.deepEqual(
        atMost(room, (into, at) => {
          for (const { code, message } of results) at = body.writeAckResult(into, at, code, message);
          return at;
        }),
        v1.AckAnswer.encode({ result: results.map(({ code, message }) => ({ code, message })) }).finish(),
      );
      assert.deepEqual(
        atMost(room, (into, at) => {
          for (const { code, message, receipt } of results) {
            at = body.writeChangeResult(into, at, code, message, receipt);
          }
          return at;
        }),
        v1.ChangeAnswer.encode({
          result: results.map((one) => ({ ...one, receipt: Buffer.from(one.receipt) })),
        }).finish(),
      );
      const changes = random.list(() => ({
        receipt: random.text(),
        kind: pick(Object.values(body.ChangeKind), random.source),
        invisibleMs: random.number(),
      }));
      const changeRoom = changes.reduce((bytes, { receipt }) => bytes + body.changeBytesMax(receipt), 0);
      assert.deepEqual(
        atMost(body.changeGroupBytesMax + changeRoom, (into, at) => {
          at = body.writeChangeGroup(into, at, groupId);
          for (const { receipt, kind, invisibleMs } of changes) {
            at = body.writeChange(into, at, receipt, kind, invisibleMs);
          }
          return at;
        }),
        v1.ChangeRequest.encode({
          groupId,
          change: changes.map((one) => ({ ...one, receipt: Buffer.from(one.receipt) })),
        }).finish(),
      );
    });
  });

  it("give kinds of change the numbers of the schema", () => {
    const names = new Map(Object.entries(body.ChangeKind).map(([name, kind]) => [kind, name]));
    assert.deepEqual(
      [1, 2, 3, 4].map((kind) => v1.ChangeKind[kind]),
      [1, 2, 3, 4].map((kind) =>
        names
          .get(kind as body.ChangeKind)
          ?.replace(/(?<=[a-z])(?=[A-Z])/, "_")
          .toUpperCase(),
      ),
    );
  });
});

function delivery(random: RandomValues): body.DeliveryFields {
  const message = random.bytes();
  return {
    message: Buffer.concat([Buffer.from([1]), message, Buffer.from([2])]),
    messageStart: 1,
    messageEnd: 1 + message.length,
    receipt: random.text(),
    queueId: random.number32(),
    offset: random.number(),
    attempt: random.number32(),
    storeMs: random.number(),
    bornHost: random.text(),
    lane: random.text(),
    mirrorOf: random.source.fraction() < 0.5 ? "" : random.text(),
    deadLetter:
      random.source.fraction() < 0.5
        ? undefined
        : {
            topic: random.text(),
            messageId: random.text(),
            queueId: random.number32(),
            offset: random.number(),
            attempts: random.number32(),
            reason: random.text(),
            lastHolder: random.text(),
            deadMs: random.number(),
          },
  };
}

/** What is written fills `length` bytes exactly and touches nothing around them. */
function exactly(length: number, write: (into: Buffer, at: number) => number): Buffer {
  const written = atMost(length, write);
  assert.equal(written.length, length);
  return written;
}

function atMost(lengthMax: number, write: (into: Buffer, at: number) => number): Buffer {
  const into = Buffer.alloc(7 + lengthMax + 7, 0xa5);
  const end = write(into, 7);
  assert.ok(end <= 7 + lengthMax, `${end - 7} bytes written, ${lengthMax} were announced`);
  for (let i = 0; i < 7; i++) assert.equal(into[i], 0xa5);
  for (let i = end; i < into.length; i++) assert.equal(into[i], 0xa5);
  return into.subarray(7, end);
}

class RandomValues {
  readonly source: Randomness;

  constructor(source: Randomness) {
    this.source = source;
  }

  code(): Code {
    return pick([20000, 30000, 40000, 40401, 60000], this.source) as Code;
  }

  text(): string {
    const short = ["", "", "a", "orders", "Größe", "漢字", "🦊", "01AB34"];
    if (this.source.fraction() < 0.7) return pick(short, this.source);
    return pick(["x", "é", "汉"], this.source).repeat(pick([63, 64, 65, 127, 128, 300, 20_000], this.source));
  }

  number32(): number {
    return this.source.fraction() < 0.4
      ? pick([0, 1, 127, 128, 2 ** 31, 2 ** 32 - 1], this.source)
      : this.source.uint32();
  }

  /** Around every border at which a varint grows. */
  number(): number {
    if (this.source.fraction() < 0.2) return 0;
    return Math.min(
      Number.MAX_SAFE_INTEGER,
      Math.max(0, 2 ** randomIndex(this.source, 54) + randomIndex(this.source, 5) - 2),
    );
  }

  timeMs(): number {
    return pick([0, 1, 999, 1000, 1_700_000_000_123, 4_102_444_800_000, this.source.uint32()], this.source);
  }

  bytes(): Buffer {
    return this.source.bytes(pick([0, 1, 63, 64, 65, 127, 128, 5000], this.source));
  }

  list<Element>(make: () => Element): Element[] {
    return Array.from({ length: randomIndex(this.source, 5) }, make);
  }
}

function everyRun(check: (random: RandomValues) => void): void {
  withSeed((seed) => {
    const random = new RandomValues(new SeededRandomness(seed));
    for (let i = 0; i < runs; i++) check(random);
  });
}
