import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../../../proto/code.ts";
import { FrameKind } from "../../../../../proto/frame/frame.ts";
import { silentLog } from "../../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../../proto/runtime/seeded-randomness.ts";
import { BrokerCoreUpstream } from "../../../../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import type {
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSendAnswer,
} from "../../../../../sidecar/upstream/upstream.ts";
import { ManualClock, settle } from "../../../../support/manual-clock.ts";
import { ScriptedBroker } from "../../../../support/scripted-broker.ts";
import { encodedMessage, groupRef, receiveRequest, topicRef } from "../../../../support/upstream-client.ts";
import { waitUntil } from "../../../../support/wait-until.ts";

const { v1 } = popmesh;
const topic = topicRef("t");
const group = groupRef("g");

/** Time may pass without any timer firing: the process was stopped. */
class StallingClock extends ManualClock {
  stalledMs = 0;

  override monotonicMs(): number {
    return super.monotonicMs() + this.stalledMs;
  }
}

describe("The driver for the broker core", () => {
  let broker: ScriptedBroker;
  let clock: StallingClock;
  let upstream: BrokerCoreUpstream;

  beforeEach(async () => {
    broker = new ScriptedBroker();
    clock = new StallingClock();
    await broker.start();
  });
  afterEach(async () => {
    void upstream.close(0);
    clock.advance(1);
    await settle();
    await broker.stop();
  });

  function open(limits: Partial<{ sendsInFlightMax: number; pendingMax: number; pendingBytesMax: number }> = {}): void {
    upstream = new BrokerCoreUpstream({
      ...{ brokerName: "broker-a", host: "127.0.0.1", port: broker.port, clock, log: silentLog },
      hello: { sidecarId: "s", lane: "base" },
      randomness: new SeededRandomness(7),
      limits: { sendsInFlightMax: 256, pendingMax: 1024, pendingBytesMax: 1 << 25, ...limits },
    });
  }

  async function ready(): Promise<void> {
    await waitUntil("the driver is welcomed", () => upstream.isReady);
  }

  function send(id: string, withinMs = 5_000): { readonly answers: UpstreamSendAnswer[] } {
    const answers: UpstreamSendAnswer[] = [];
    const request = { topic, laneMark: "", bornHost: "h", messages: [encodedMessage(id)] };
    upstream.send(request, clock.monotonicMs() + withinMs, (answer) => answers.push(answer));
    return { answers };
  }

  function receive(parts: Partial<UpstreamReceive> = {}, withinMs = 30_000) {
    const answers: UpstreamReceiveAnswer[] = [];
    const deadlineMs = clock.monotonicMs() + withinMs;
    const cancel = upstream.receive(receiveRequest(topic, group, parts), deadlineMs, (answer) => answers.push(answer));
    return { answers, cancel };
  }

  /** Opens topic and group, so that later calls go straight to the wire. */
  async function warm(): Promise<void> {
    await ready();
    const { answers } = receive({ waitMs: 0 });
    broker.answer(await broker.heard(FrameKind.Receive));
    await waitUntil("warmed", () => answers.length === 1);
    broker.requests.length = 0;
  }

  const sendAnswer = (firstOffset: number) => v1.SendAnswer.encode({ queueId: 1, firstOffset, storeMs: 5 }).finish();
  const delivery = (receipt: string) =>
    v1.ReceiveAnswer.encode({
      delivery: [{ message: encodedMessage("m"), receipt: Buffer.from(receipt), attempt: 1, offset: 3 }],
    }).finish();

  it("gives each call its own answer, in whatever order they come", async () => {
    open();
    await warm();
    const calls = [0, 1, 2].map((i) => send(`m${i}`));
    await broker.heard(FrameKind.Send, 3);
    for (const i of [2, 0, 1]) broker.answer(broker.of(FrameKind.Send)[i]!, sendAnswer(i * 10));
    await waitUntil("all answered", () => calls.every(({ answers }) => answers.length === 1));
    assert.deepEqual(
      calls.map(({ answers }) => answers[0]?.ok && answers[0].firstOffset),
      [0, 10, 20],
    );
    assert.equal(upstream.openRequestCount, 0);
  });

  it("ignores answers that nobody waits for, answered twice or invented", async () => {
    open();
    await warm();
    const first = send("a");
    const request = await broker.heard(FrameKind.Send);
    broker.answer(request, sendAnswer(1));
    broker.answer(request, sendAnswer(2));
    broker.answer({ ...request, correlation: 0xfff0_0001 }, sendAnswer(3));
    const second = send("b");
    const next = await broker.heard(FrameKind.Send, 2);
    assert.notEqual(next.correlation, request.correlation, "a slot that is used again has another generation");
    broker.answer(request, sendAnswer(4));
    broker.answer(next, sendAnswer(5));
    await waitUntil("both answered", () => first.answers.length + second.answers.length === 2);
    assert.deepEqual(
      [first, second].map(({ answers }) => answers[0]?.ok && answers[0].firstOffset),
      [1, 5],
    );
  });

  it("opens a name once for all who wait for it, and anew on the next connection", async () => {
    open();
    await ready();
    broker.opensByItself = false;
    const calls = Array.from({ length: 50 }, (_, i) => send(`m${i}`));
    const opening = await broker.heard(FrameKind.OpenTopic);
    await settle();
    assert.equal(broker.requests.filter(({ kind }) => kind === FrameKind.OpenTopic).length, 1);
    assert.equal(broker.of(FrameKind.Send).length, 0);
    broker.answer(opening, v1.OpenTopicAnswer.encode({ topicId: 77 }).finish());
    await broker.heard(FrameKind.Send, 50);
    for (const request of broker.of(FrameKind.Send)) {
      assert.equal(v1.SendRequest.decode(request.body).topicId, 77);
      broker.answer(request, sendAnswer(0));
    }
    await waitUntil("all answered", () => calls.every(({ answers }) => answers[0]?.ok === true));
    broker.sockets[0]!.destroy();
    await waitUntil("it noticed", () => !upstream.isReady);
    await waitUntil("it is back", () => {
      clock.advance(50);
      return upstream.isReady;
    });
    send("again");
    await broker.heard(FrameKind.OpenTopic, 2);
  });

  it("tells all who wait for a name why it was refused", async () => {
    open();
    await ready();
    broker.opensByItself = false;
    const calls = [send("a"), send("b")];
    broker.fail(await broker.heard(FrameKind.OpenTopic), Code.IllegalTopic, "no such name");
    await waitUntil("both answered", () => calls.every(({ answers }) => answers.length === 1));
    for (const { answers } of calls) {
      assert.deepEqual(answers[0], { ok: false, code: Code.IllegalTopic, message: "no such name", reach: "refused" });
    }
  });

  it("opens a name again when the broker does not know its id", async () => {
    open();
    await warm();
    const { answers } = send("a");
    broker.fail(await broker.heard(FrameKind.Send), Code.TopicNotFound, "unknown id");
    await waitUntil("answered", () => answers.length === 1);
    send("b");
    await broker.heard(FrameKind.OpenTopic);
  });

  it("opens a topic again for a newer incarnation, and a group for a newer policy, never for an older one", async () => {
    open();
    await warm();
    const ask = (incarnation: number, generation: number) => {
      const request = receiveRequest({ ...topic, incarnation }, { ...group, generation });
      upstream.receive(request, clock.monotonicMs() + 5_000, () => {});
    };
    ask(2, 2);
    await broker.heard(FrameKind.Receive);
    assert.deepEqual([broker.of(FrameKind.OpenTopic).length, broker.of(FrameKind.OpenGroup).length], [1, 1]);
    ask(1, 1);
    await broker.heard(FrameKind.Receive, 2);
    assert.deepEqual([broker.of(FrameKind.OpenTopic).length, broker.of(FrameKind.OpenGroup).length], [1, 1]);
  });

  describe("keeps within the windows", () => {
    it("of requests: what is beyond waits for an answer and goes in order", async () => {
      broker.welcome = { ...broker.welcome, requestWindow: 4 };
      open();
      await warm();
      const calls = Array.from({ length: 6 }, (_, i) => send(`m${i}`));
      await broker.heard(FrameKind.Send, 2);
      await settle();
      await settle();
      const early = broker.of(FrameKind.Send).length;
      assert.ok(early < 6 && early <= 4, `${early} were sent at once`);
      assert.equal(upstream.openRequestCount, 6);
      for (let i = 0; i < 6; i++) broker.answer(await broker.heard(FrameKind.Send, i + 1), sendAnswer(i));
      await waitUntil("all answered", () => calls.every(({ answers }) => answers[0]?.ok === true));
      assert.deepEqual(
        calls.map(({ answers }) => answers[0]?.ok && answers[0].firstOffset),
        [0, 1, 2, 3, 4, 5],
      );
    });

    it("of bytes and of sends in flight", async () => {
      open({ sendsInFlightMax: 2 });
      await warm();
      for (let i = 0; i < 5; i++) send(`m${i}`);
      const ack: UpstreamResults[] = [];
      upstream.ack({ group, receipts: ["r"] }, clock.monotonicMs() + 5_000, (answer) => ack.push(answer));
      await broker.heard(FrameKind.Ack);
      assert.equal(broker.of(FrameKind.Send).length, 2, "acks pass sends that wait");
    });

    it("and uses larger ones as soon as they are told", async () => {
      broker.welcome = { ...broker.welcome, receiveWindow: 1 };
      open();
      await warm();
      for (let i = 0; i < 3; i++) receive({ waitMs: 10_000 });
      await broker.heard(FrameKind.Receive);
      await settle();
      assert.equal(broker.of(FrameKind.Receive).length, 1);
      const window = v1.Window.encode({ requestWindow: 10, receiveWindow: 10, byteWindow: 1 << 20 }).finish();
      broker.say(broker.sockets[0]!, FrameKind.Window, 0, 0, window);
      await broker.heard(FrameKind.Receive, 3);
    });

    it("keeps the credit of a call that ran out of time until the broker answers it", async () => {
      open({ sendsInFlightMax: 1 });
      await warm();
      const slow = send("slow", 1_000);
      const next = send("next", 10_000);
      const request = await broker.heard(FrameKind.Send);
      clock.advance(1_000);
      assert.deepEqual([slow.answers[0]?.ok, upstream.openRequestCount], [false, 1]);
      await settle();
      assert.equal(broker.of(FrameKind.Send).length, 1);
      broker.answer(request, sendAnswer(1));
      broker.answer(await broker.heard(FrameKind.Send, 2), sendAnswer(2));
      await waitUntil("answered", () => next.answers.length === 1);
      assert.equal(next.answers[0]?.ok && next.answers[0].firstOffset, 2);
      assert.equal(slow.answers.length, 1);
    });

    it("refuses what would wait beyond its limits, as not sent", async () => {
      broker.isMute = true;
      open({ pendingMax: 2, pendingBytesMax: 1 << 20 });
      send("a");
      send("b");
      const third = send("c");
      assert.equal(third.answers.length, 0, "not from within the call");
      await settle();
      const answer = third.answers[0];
      assert.ok(answer?.ok === false);
      assert.deepEqual([answer.code, answer.reach], [Code.TooManyRequests, "not-sent"]);
    });
  });

  describe("tells truly how far a call got", () => {
    it("not-sent when no byte of it was written", async () => {
      clock = new StallingClock({ automaticTurns: false });
      open();
      const turning = async (what: string, holds: () => boolean) =>
        waitUntil(what, () => {
          clock.endTurn();
          return holds();
        });
      await turning("the driver is welcomed", () => upstream.isReady);
      const first = send("opens the name");
      await turning("the name is open", () => broker.of(FrameKind.Send).length === 1);
      broker.answer(broker.of(FrameKind.Send)[0]!, sendAnswer(1));
      await waitUntil("answered", () => first.answers.length === 1);
      // The turn does not end: the frame lies in the slab when the connection breaks.
      const call = send("never written");
      broker.sockets[0]!.destroy();
      await waitUntil("answered", () => call.answers.length === 1);
      const answer = call.answers[0];
      assert.ok(answer?.ok === false);
      assert.deepEqual([answer.code, answer.reach], [Code.InternalServerError, "not-sent"]);
      clock.endTurn();
      await settle();
      assert.equal(broker.of(FrameKind.Send).length, 1);
    });

    it("unknown when it was written and the connection broke", async () => {
      open();
      await warm();
      const call = send("written");
      const request = await broker.heard(FrameKind.Send);
      request.from.destroy();
      await waitUntil("answered", () => call.answers.length === 1);
      const answer = call.answers[0];
      assert.ok(answer?.ok === false);
      assert.deepEqual([answer.code, answer.reach], [Code.InternalServerError, "unknown"]);
    });

    it("unknown when its deadline came first, and the answer comes before the deadline", async () => {
      open();
      await warm();
      const call = send("slow", 1_000);
      await broker.heard(FrameKind.Send);
      clock.advance(970);
      assert.equal(call.answers.length, 0);
      clock.advance(25);
      const answer = call.answers[0];
      assert.ok(answer?.ok === false);
      assert.deepEqual([answer.code, answer.reach], [Code.ProxyTimeout, "unknown"]);
    });

    it("refused when the broker says no", async () => {
      open();
      await warm();
      const call = send("no");
      broker.fail(await broker.heard(FrameKind.Send), Code.MessagePropertyConflictWithType, "not of this type");
      await waitUntil("answered", () => call.answers.length === 1);
      const expected = { code: Code.MessagePropertyConflictWithType, message: "not of this type", reach: "refused" };
      assert.deepEqual(call.answers[0], { ok: false, ...expected });
    });

    it("not-sent after 3 s without a connection, with the reason", async () => {
      await broker.stop();
      open();
      const call = send("nobody there", 10_000);
      await waitUntil("a connection was refused", () => /ECONNREFUSED/.test(upstream.trouble ?? ""));
      assert.equal(call.answers.length, 0, "it may still come up");
      clock.advance(3_000);
      const answer = call.answers[0];
      assert.ok(answer?.ok === false);
      assert.equal(answer.reach, "not-sent");
      assert.match(answer.message, /broker-a could not be asked in time: (connect ECONNREFUSED|no Welcome)/);
      broker = new ScriptedBroker();
      await broker.start();
    });

    it("not-sent at once for those that wait when the connection breaks", async () => {
      open({ sendsInFlightMax: 1 });
      await warm();
      const [written, waiting] = [send("written"), send("waiting")];
      (await broker.heard(FrameKind.Send)).from.destroy();
      await waitUntil("both answered", () => written.answers.length + waiting.answers.length === 2);
      const reaches = [written, waiting].map(({ answers }) => answers[0]?.ok === false && answers[0].reach);
      assert.deepEqual(reaches, ["unknown", "not-sent"]);
    });
  });

  describe("with a receive", () => {
    it("cancels it at the broker when it is given up, and tells the caller once", async () => {
      open();
      await warm();
      const { answers, cancel } = receive({ waitMs: 20_000 });
      const request = await broker.heard(FrameKind.Receive);
      cancel();
      assert.equal(answers.length, 0, "not from within the call");
      assert.equal((await broker.heard(FrameKind.Cancel)).correlation, request.correlation);
      broker.fail(request, Code.MessageNotFound, "given up");
      await settle();
      cancel();
      await settle();
      assert.deepEqual(answers, [{ ok: true, deliveries: [] }]);
    });

    it("hands back what comes after it was given up, or after its deadline", async () => {
      open();
      await warm();
      const given = receive({ waitMs: 20_000 });
      const late = receive({ waitMs: 20_000 }, 1_000);
      const [first, second] = [await broker.heard(FrameKind.Receive), await broker.heard(FrameKind.Receive, 2)];
      given.cancel();
      await broker.heard(FrameKind.Cancel);
      broker.answer(first, delivery("broker-a.one"));
      clock.advance(1_000);
      assert.equal(late.answers.length, 1);
      await broker.heard(FrameKind.Cancel, 2);
      broker.answer(second, delivery("broker-a.two"));
      await broker.heard(FrameKind.Change, 2);
      const changes = broker.of(FrameKind.Change).flatMap(({ body }) => v1.ChangeRequest.decode(body).change);
      assert.deepEqual(
        changes.map(({ receipt, kind }) => [Buffer.from(receipt).toString(), kind]),
        [
          ["broker-a.one", v1.ChangeKind.HAND_BACK],
          ["broker-a.two", v1.ChangeKind.HAND_BACK],
        ],
      );
    });

    it("takes what the broker says of a message, and owns its bytes", async () => {
      open();
      await warm();
      const { answers } = receive();
      const request = await broker.heard(FrameKind.Receive);
      const message = encodedMessage("kept");
      const deadLetter = { topic: "default/t", messageId: "kept", queueId: 1, offset: 2, attempts: 3, reason: "r" };
      const body = v1.ReceiveAnswer.encode({
        delivery: [
          {
            ...{ message, receipt: Buffer.from("broker-a.x"), queueId: 3, offset: 2 ** 40, attempt: 2, storeMs: 99 },
            ...{ bornHost: "10.0.0.1", lane: "canary", deadLetter, mirrorOf: "default/o/0/7" },
          },
        ],
      }).finish();
      broker.answer(request, body);
      await waitUntil("answered", () => answers.length === 1);
      const answer = answers[0];
      assert.ok(answer?.ok);
      const [got] = answer.deliveries;
      assert.deepEqual(Buffer.from(got!.message), Buffer.from(message));
      assert.deepEqual(
        { ...got, message: "" },
        {
          ...{ message: "", receipt: "broker-a.x", queueId: 3, offset: 2 ** 40, attempt: 2, storeMs: 99 },
          ...{ bornHost: "10.0.0.1", lane: "canary", mirrorOf: "default/o/0/7" },
          deadLetter: { topic: "default/t", messageId: "kept" },
        },
      );
    });

    it("waits the less at the broker when it waited for the connection first", async () => {
      broker.isMute = true;
      open();
      receive({ waitMs: 5_000 }, 6_000);
      const hello = await broker.heard(FrameKind.Hello);
      clock.advance(900);
      broker.isMute = false;
      broker.answer(hello, v1.Welcome.encode(broker.welcome).finish());
      await waitUntil("the names are asked for", () => broker.of(FrameKind.OpenTopic).length === 1);
      clock.advance(600);
      const { waitMs } = v1.ReceiveRequest.decode((await broker.heard(FrameKind.Receive)).body);
      assert.ok(waitMs <= 5_000 && waitMs >= 4_300, `it waits ${waitMs} ms`);
    });
  });

  describe("with its connection", () => {
    it("pings every 10 s and cuts a broker that is silent for 15 s", async () => {
      open();
      await warm();
      for (let i = 0; i < 10; i++) clock.advance(1_000);
      await broker.heard(FrameKind.Ping);
      await settle();
      broker.isMute = true;
      const call = send("into the void", 60_000);
      for (let i = 0; i < 14; i++) clock.advance(1_000);
      assert.equal(upstream.isReady, true);
      for (let i = 0; i < 3 && upstream.isReady; i++) clock.advance(1_000);
      assert.equal(upstream.isReady, false);
      assert.match(upstream.trouble ?? "", /sent nothing for 15000 ms/);
      assert.equal(call.answers[0]?.ok, false);
    });

    it("does not blame the broker for time in which this process stood still", async () => {
      open();
      await warm();
      clock.advance(500);
      clock.stalledMs = 30_000;
      clock.advance(600);
      assert.equal(upstream.isReady, true);
    });

    it("leaves after a GoAway: open calls finish there, new ones go to a new connection", async () => {
      open();
      await warm();
      const before = send("before");
      const request = await broker.heard(FrameKind.Send);
      broker.say(request.from, FrameKind.GoAway);
      await waitUntil("it noticed", () => !upstream.isReady);
      const after = send("after");
      await waitUntil("a second connection", () => {
        clock.advance(20);
        return broker.sockets.length === 2 && upstream.isReady;
      });
      const moved = await broker.heard(FrameKind.Send, 2);
      assert.equal(moved.from, broker.sockets[1]);
      broker.answer(request, sendAnswer(1));
      broker.answer(moved, sendAnswer(2));
      await waitUntil("both answered", () => before.answers.length + after.answers.length === 2);
      assert.ok(before.answers[0]?.ok && after.answers[0]?.ok);
      await waitUntil("the old connection was closed", () => broker.sockets[0]!.readyState !== "open");
    });

    it("keeps away from a broker of another name, and one that speaks another version", async () => {
      broker.welcome = { ...broker.welcome, brokerName: "broker-b" };
      open();
      await waitUntil("it was told", () => /broker-b/.test(upstream.trouble ?? ""));
      assert.equal(upstream.isReady, false);
      broker.helloFailure = { code: Code.VersionUnsupported, message: "speaks 7 to 9" };
      await waitUntil("it was told", () => {
        clock.advance(100);
        return /VERSION_UNSUPPORTED.*7 to 9/.test(upstream.trouble ?? "");
      });
    });

    it("gives up an attempt that is not welcomed within 1 s, and tries again", async () => {
      broker.isMute = true;
      open();
      await broker.heard(FrameKind.Hello);
      clock.advance(1_000);
      assert.match(upstream.trouble ?? "", /no Welcome in 1000 ms/);
      broker.isMute = false;
      await waitUntil("it is welcomed", () => {
        clock.advance(50);
        return upstream.isReady;
      });
    });

    it("cuts a broker whose answers cannot be read", async () => {
      open();
      await warm();
      const call = send("a");
      broker.answer(await broker.heard(FrameKind.Send), Buffer.from([0x0a, 0xff]));
      await waitUntil("it noticed", () => !upstream.isReady);
      assert.match(upstream.trouble ?? "", /cannot be read/);
      assert.equal(call.answers.length, 1);
    });

    it("ignores what a newer broker says beyond what is known", async () => {
      open();
      await warm();
      const socket = broker.sockets[0]!;
      broker.say(socket, 60, 0, 0, Buffer.from("news"));
      broker.say(socket, 61, 0, 9, Buffer.from("a question"));
      const call = send("a");
      const request = await broker.heard(FrameKind.Send);
      const unknownField = Buffer.from([0xfa, 0x07, 0x03, 0x61, 0x62, 0x63]); // field 127, "abc"
      broker.answer(request, Buffer.concat([sendAnswer(4), unknownField]));
      await waitUntil("answered", () => call.answers.length === 1);
      assert.ok(call.answers[0]?.ok);
    });
  });

  it("closes when what is open is answered, giving receives up", async () => {
    open();
    await warm();
    const call = send("last");
    const parked = receive({ waitMs: 20_000 });
    const request = await broker.heard(FrameKind.Send);
    let isClosed = false;
    const closed = upstream.close(10_000).then(() => {
      isClosed = true;
    });
    await broker.heard(FrameKind.Cancel);
    broker.answer(broker.of(FrameKind.Receive)[0]!, undefined, Code.MessageNotFound);
    await settle();
    assert.deepEqual([isClosed, parked.answers.length], [false, 1]);
    const refused = send("too late");
    await settle();
    assert.equal(refused.answers[0]?.ok === false && refused.answers[0].reach, "not-sent");
    broker.answer(request, sendAnswer(1));
    await closed;
    assert.ok(call.answers[0]?.ok);
  });
});
