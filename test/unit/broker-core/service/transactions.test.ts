import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import type { CheckPolicy } from "../../../../broker-core/transaction/transaction-coordinator.ts";
import { Code } from "../../../../proto/code.ts";
import { FrameKind } from "../../../../proto/frame/frame.ts";
import { type RawSidecar, ServiceFixture } from "../../../support/service-fixture.ts";
import { encodedMessage } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { v1 } = popmesh;
const topic = "default/t";
/** Short, for connections that are silent for 15 s are cut. */
const policy: CheckPolicy = { firstCheckMs: 60, checkIntervalMs: 300, checksMax: 5, ageMsMax: 3_600_000 };
/** The timing wheel turns by 4 ms. */
const tickMs = 8;

describe("Transactions over the frame port", () => {
  let broker: ServiceFixture;
  let client: RawSidecar;
  let topicId: number;
  beforeEach(async () => {
    broker = await ServiceFixture.start({}, policy);
    client = await broker.welcomed();
    const opening = v1.OpenTopic.encode({ name: topic, incarnation: 1, messageTypes: 0b10010, queueCount: 1 }).finish();
    const opened = client.say(FrameKind.OpenTopic, opening);
    await client.heard();
    broker.log.sync();
    topicId = v1.OpenTopicAnswer.decode((await client.answered(opened)).body).topicId;
  });
  afterEach(() => broker.stop());

  const sayHalf = (id: string): number => {
    const message = [encodedMessage(id, { isHalf: true })];
    return client.say(FrameKind.Send, v1.SendRequest.encode({ topicId, message, laneMark: "gray" }).finish());
  };
  const begin = async (id: string): Promise<string> => {
    const correlation = sayHalf(id);
    await client.heard();
    broker.log.sync();
    return v1.SendAnswer.decode((await client.answered(correlation)).body).transactionId;
  };
  const sayEnd = (transactionId: string, resolution: number): number =>
    client.say(
      FrameKind.EndTransaction,
      v1.EndTransactionRequest.encode({ topic, transactionId, resolution, source: 1 }).finish(),
    );
  const sayProducers = async (from: RawSidecar, came: string[], left: string[] = []) => {
    from.say(FrameKind.Producers, v1.Producers.encode({ came, left }).finish(), 0);
    await from.heard();
  };
  const questions = (to: RawSidecar) =>
    to.frames.flatMap(({ kind, body }) => (kind === FrameKind.CheckBack ? [v1.CheckBack.decode(body)] : []));
  const passRound = (ms = policy.checkIntervalMs) => {
    broker.clock.advance(ms + tickMs);
    broker.clock.endTurn();
    broker.log.write();
  };

  it("answers a half message, its commit and a repeated commit when they are on disk, not before", async () => {
    const half = sayHalf("a");
    await client.heard();
    broker.log.write();
    await client.heard();
    assert.equal(client.answerTo(half), undefined);
    broker.log.sync();
    const { transactionId } = v1.SendAnswer.decode((await client.answered(half)).body);
    const [first, again] = [sayEnd(transactionId, 1), sayEnd(transactionId, 1)];
    await client.heard();
    broker.log.write();
    await client.heard();
    assert.deepEqual([client.answerTo(first), client.answerTo(again)], [undefined, undefined]);
    broker.log.sync();
    assert.deepEqual(
      [(await client.answered(first)).status, (await client.answered(again)).status],
      [Code.Ok, Code.Ok],
    );
    assert.equal(broker.log.countOf(RecordType.Commit), 1);
    assert.equal(broker.metric("popmesh_broker_transaction_ends_total"), 2);
  });

  it("answers a rollback when it is on disk, and a refusal at once", async () => {
    const transactionId = await begin("a");
    const rollback = sayEnd(transactionId, 2);
    await client.heard();
    broker.log.write();
    await client.heard();
    assert.equal(client.answerTo(rollback), undefined);
    broker.log.sync();
    assert.equal((await client.answered(rollback)).status, Code.Ok);
    assert.equal((await client.answered(sayEnd(transactionId, 1))).status, Code.BadRequest);
    assert.equal((await client.answered(sayEnd("nonsense", 1))).status, Code.InvalidTransactionId);
  });

  it("asks each connection with a producer in turn, once the question is counted in the log", async () => {
    const [a, b, other] = [await broker.welcomed(), await broker.welcomed(), await broker.welcomed()];
    await sayProducers(a, [topic]);
    await sayProducers(b, [topic, "default/another"]);
    await sayProducers(other, ["default/another"]);
    const transactionId = await begin("a");
    broker.clock.advance(policy.firstCheckMs + tickMs);
    broker.clock.endTurn();
    assert.equal(broker.log.countOf(RecordType.CheckBack), 1);
    await a.heard();
    assert.equal(questions(a).length, 0, "the record is not written");
    broker.log.write();
    await waitUntil("a question", () => questions(a).length === 1);
    const question = questions(a)[0]!;
    assert.deepEqual(
      [question.topic, question.transactionId, question.laneMark, question.checks, question.storeMs > 0],
      [topic, transactionId, "gray", 1, true],
    );
    assert.deepEqual(Buffer.from(question.message), Buffer.from(encodedMessage("a", { isHalf: true })));
    assert.ok(
      a.frames.filter(({ kind }) => kind === FrameKind.CheckBack).every(({ correlation }) => correlation === 0),
    );
    for (let i = 0; i < 3; i++) passRound();
    await waitUntil("three more", () => questions(a).length + questions(b).length === 4);
    assert.deepEqual(
      [questions(a).map(({ checks }) => checks), questions(b).map(({ checks }) => checks)],
      [
        [1, 3],
        [2, 4],
      ],
    );
    assert.deepEqual([questions(other), questions(client)], [[], []]);
    assert.equal(broker.metric("popmesh_broker_transaction_check_backs_total"), 4);
  });

  it("F10: asks producers of the message's lane about it, in turn, and any other only while none of that lane is there", async () => {
    const inLane = async (lane: string): Promise<RawSidecar> => {
      const sidecar = broker.connect();
      await sidecar.hello({ lane });
      await sayProducers(sidecar, [topic]);
      return sidecar;
    };
    const [base, gray, gray2] = [await inLane("base"), await inLane("gray"), await inLane("gray")];
    await begin("a");
    passRound(policy.firstCheckMs);
    for (let i = 0; i < 3; i++) passRound();
    await waitUntil("four questions", () => questions(gray).length + questions(gray2).length === 4);
    assert.deepEqual([questions(gray).length, questions(gray2).length, questions(base).length], [2, 2, 0]);
    for (const each of [gray, gray2]) await sayProducers(each, [], [topic]);
    passRound();
    await waitUntil("the fifth question", () => questions(base).length === 1);
    assert.deepEqual([questions(gray).length, questions(gray2).length], [2, 2]);
  });

  it("asks nobody behind a connection that is gone or said that its producers left, and who comes at once", async () => {
    const [gone, left] = [await broker.welcomed(), await broker.welcomed()];
    await sayProducers(gone, [topic]);
    await sayProducers(left, [topic]);
    await begin("a");
    await sayProducers(left, [], [topic]);
    gone.close();
    await waitUntil("it is gone", () => broker.metric("popmesh_broker_connections") === 2);
    passRound(policy.firstCheckMs);
    passRound();
    assert.equal(broker.log.countOf(RecordType.CheckBack), 0);
    await sayProducers(left, [topic]);
    passRound(0);
    await waitUntil("a question", () => questions(left).length === 1);
    assert.equal(questions(left)[0]?.checks, 1);
  });

  it("cuts a connection whose Producers cannot be read, and no other", async () => {
    const rude = await broker.welcomed();
    rude.say(FrameKind.Producers, Buffer.from([0x0a, 0xff]), 0);
    await rude.closed();
    await client.heard();
  });

  it("counts and reports what is given up", async () => {
    await sayProducers(client, [topic]);
    await begin("a");
    passRound(policy.firstCheckMs);
    for (let i = 0; i < policy.checksMax; i++) passRound();
    assert.equal(broker.log.countOf(RecordType.Rollback), 1);
    assert.match(
      broker.metrics.prometheusText(),
      /popmesh_broker_transactions_given_up_total\{reason="checks exhausted"\} 1/,
    );
  });
});
