import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import type { RawV2Client } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { encodedMessage } from "../../../support/upstream-client.ts";

describe("the calls by offset", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g");
  });
  after(() => mesh.stop());
  const upstream = () => mesh.upstream("broker-a");
  beforeEach(() => {
    upstream().offsetCalls.length = 0;
    upstream().offsetAnswer = { ok: true, offset: 42 };
    upstream().pullAnswer = { ok: true, deliveries: [], nextOffset: 7 };
  });

  const messageQueue = { topic: { name: "t" }, id: 3, broker: { name: "broker-a" } };
  const group = { name: "g" };
  const asked = () => {
    const [call] = upstream().offsetCalls;
    return call as unknown as Record<string, unknown>;
  };

  it("ask the broker of the queue for its ends, for a time, and for a group", async () => {
    const { BEGINNING, END, TIMESTAMP } = apache.rocketmq.v2.QueryOffsetPolicy;
    for (const [queryOffsetPolicy, policy] of [
      [BEGINNING, "begin"],
      [END, "end"],
    ] as const) {
      upstream().offsetCalls.length = 0;
      const answer = await client.call("QueryOffset", { messageQueue, queryOffsetPolicy });
      assert.deepEqual([answer.status?.code, answer.offset], [Code.Ok, 42]);
      assert.deepEqual([asked()["policy"], asked()["queueId"]], [policy, 3]);
    }
    upstream().offsetCalls.length = 0;
    await client.call("QueryOffset", {
      ...{ messageQueue, queryOffsetPolicy: TIMESTAMP },
      timestamp: { seconds: 1_700_000_000, nanos: 1 },
    });
    assert.deepEqual([asked()["policy"], asked()["timeMs"]], ["time", 1_700_000_000_001]);
    upstream().offsetCalls.length = 0;
    assert.equal((await client.call("GetOffset", { messageQueue, group })).offset, 42);
    assert.deepEqual([asked()["policy"], (asked()["group"] as { name: string }).name], ["group", "default/g"]);
    upstream().offsetCalls.length = 0;
    const updated = await client.call("UpdateOffset", { messageQueue, group, offset: 9 });
    assert.equal(updated.status?.code, Code.Ok);
    assert.deepEqual([asked()["policy"], asked()["offset"]], ["set-group", 9]);
  });

  it("pull: a status, the messages as a receive gives them, where to go on", async () => {
    upstream().pullAnswer = {
      ...{ ok: true, nextOffset: 12 },
      deliveries: [10, 11].map((offset) => ({
        ...{ message: Buffer.from(encodedMessage(`m${offset}`)), receipt: "", queueId: 3, offset, attempt: 0 },
        ...{ storeMs: 1_700_000_000_000, bornHost: "10.0.0.1:1", lane: "", mirrorOf: "", deadLetter: undefined },
      })),
    };
    const answer = await client.pull({ messageQueue, group, offset: 10, batchSize: 5 });
    assert.deepEqual(answer.order, ["status", "message", "message", "nextOffset"]);
    assert.deepEqual([answer.code, answer.nextOffset], [Code.Ok, 12]);
    assert.deepEqual(
      answer.messages.map(({ systemProperties: system }) => [system?.messageId, system?.queueId, system?.queueOffset]),
      [
        ["m10", 3, 10],
        ["m11", 3, 11],
      ],
    );
    assert.ok(answer.messages.every(({ systemProperties }) => !systemProperties?.receiptHandle));
    assert.ok(answer.messages.every(({ systemProperties }) => systemProperties?.bodyDigest != null));
    assert.deepEqual([asked()["offset"], asked()["batch"], asked()["waitMs"]], [10, 5, 0]);
  });

  it("pull nothing: MESSAGE_NOT_FOUND and where to go on", async () => {
    const answer = await client.pull({ messageQueue, group, offset: 7, longPollingTimeout: { seconds: 60 } });
    assert.deepEqual(
      [answer.code, answer.nextOffset, answer.order],
      [Code.MessageNotFound, 7, ["status", "nextOffset"]],
    );
    assert.ok(Number(asked()["waitMs"]) <= 20_000, "a longer wait is cut");
  });

  it("refuse what names no queue of a broker, a negative offset, an unknown policy, a wrong filter", async () => {
    const code = async (answer: Promise<{ status?: { code?: number | null } | null }>) => (await answer).status?.code;
    const noBroker = { topic: { name: "t" }, id: 0 };
    assert.equal(await code(client.call("GetOffset", { messageQueue: noBroker, group })), Code.BadRequest);
    assert.equal(
      await code(client.call("QueryOffset", { messageQueue, queryOffsetPolicy: 9 as never })),
      Code.BadRequest,
    );
    assert.equal(await code(client.call("QueryOffset", { messageQueue, queryOffsetPolicy: 2 })), Code.BadRequest);
    assert.equal(await code(client.call("UpdateOffset", { messageQueue, group, offset: -1 })), Code.IllegalOffset);
    const whole = { messageQueue: { ...messageQueue, id: -1 }, group };
    assert.equal((await client.pull({ ...whole, offset: 0 })).code, Code.BadRequest);
    assert.equal((await client.pull({ messageQueue, group, offset: -1 })).code, Code.IllegalOffset);
    const filterExpression = { type: 2, expression: "AND" };
    assert.equal(
      (await client.pull({ messageQueue, group, offset: 0, filterExpression })).code,
      Code.IllegalFilterExpression,
    );
    assert.equal(upstream().offsetCalls.length, 0, "nobody was asked");
  });

  it("pass the broker's refusal on", async () => {
    const refusal = { ok: false, code: Code.IllegalOffset, message: "outside", reach: "refused" } as const;
    upstream().pullAnswer = refusal;
    upstream().offsetAnswer = refusal;
    const pulled = await client.pull({ messageQueue, group, offset: 99 });
    assert.deepEqual([pulled.code, pulled.message], [Code.IllegalOffset, "outside"]);
    const updated = await client.call("UpdateOffset", { messageQueue, group, offset: 99 });
    assert.deepEqual([updated.status?.code, updated.status?.message], [Code.IllegalOffset, "outside"]);
  });
});
