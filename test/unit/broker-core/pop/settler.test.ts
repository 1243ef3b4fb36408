import assert from "node:assert/strict";
import { ChangeKind } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

describe("settling a lease", () => {
  function oneOut(options: { attemptsMax?: number } = {}) {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group("ns/billing", options);
    f.receive(t, g);
    f.send(t);
    const [got] = f.receive(t, g);
    assert.ok(got !== undefined);
    return { f, t, g, got };
  }

  describe("requirement 1: a receipt settles its own lease and nothing else", () => {
    it("acks once, and says OK again to the same receipt without another record", () => {
      const { f, t, g, got } = oneOut();
      assert.equal(f.ack(g, got.receipt).code, Code.Ok);
      const records = f.log.recordCount;
      assert.equal(f.ack(g, got.receipt).code, Code.Ok);
      assert.equal(f.log.recordCount, records);
      f.pass(60_000);
      assert.deepEqual(f.receive(t, g), []);
    });

    it("refuses an older lease of a message, and leaves the newer one alone", () => {
      const { f, t, g, got } = oneOut();
      f.pass(10_000);
      const [again] = f.receive(t, g);
      const result = f.ack(g, got.receipt);
      assert.equal(result.code, Code.InvalidReceiptHandle);
      assert.match(result.message, /replaced by a later one/);
      assert.equal(f.figures().inFlight, 1);
      assert.equal(f.change(g, got.receipt, ChangeKind.Renew, 0).code, Code.InvalidReceiptHandle);
      assert.deepEqual(f.receive(t, g), [], "the new lease holds");
      assert.equal(f.ack(g, again!.receipt).code, Code.Ok);
    });

    it("refuses a lease that has ended, to the millisecond, although nobody else has the message yet", () => {
      const { f, g, got } = oneOut();
      f.monotonicMs += 9_999;
      assert.equal(f.change(g, got.receipt, ChangeKind.Extend, 1).code, Code.Ok);
      f.monotonicMs += 1;
      const result = f.ack(g, got.receipt);
      assert.equal(result.code, Code.InvalidReceiptHandle);
      assert.match(result.message, /expired/);
    });

    it("refuses the receipt of another group", () => {
      const { f, t, g, got } = oneOut();
      const other = f.group("ns/audit");
      f.receive(t, other);
      const result = f.ack(other, got.receipt);
      assert.equal(result.code, Code.InvalidReceiptHandle);
      assert.match(result.message, /another consumer group/);
      assert.equal(f.figures().inFlight, 1);
      assert.equal(f.ack(g, got.receipt).code, Code.Ok);
    });

    it("refuses a receipt of which any bit was changed", () => {
      const { f, g, got } = oneOut();
      const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
      for (let i = "broker-a.".length; i < got.receipt.length; i++) {
        const forged = Buffer.from(got.receipt);
        const digit = digits.indexOf(String.fromCharCode(forged[i]!));
        forged[i] = digits.charCodeAt((digit + 1) % 64);
        assert.equal(f.ack(g, forged).code, Code.InvalidReceiptHandle, `character ${i}`);
      }
      assert.equal(f.ack(g, got.receipt).code, Code.Ok);
    });

    it("tells malformed, foreign and forged receipts apart", () => {
      const { f, g, got } = oneOut();
      const text = got.receipt.toString();
      const ack = (receipt: string) => f.ack(g, Buffer.from(receipt)).message;
      assert.match(ack(""), /malformed/);
      assert.match(ack("%%%"), /malformed/);
      assert.match(ack("broker-a."), /malformed/);
      assert.match(ack(`broker-a.${text.slice(9, -4)}`), /malformed/);
      assert.match(ack(text.replace("broker-a", "broker-b")), /another broker/);
      assert.match(ack(`${text.slice(0, -2)}xw`), /not issued by this broker/);
    });

    it("refuses the receipts of a topic that was deleted and created again", () => {
      const { f, g, got } = oneOut();
      f.topic("ns/orders", { incarnation: 2 });
      const result = f.ack(g, got.receipt);
      assert.equal(result.code, Code.InvalidReceiptHandle);
      assert.match(result.message, /deleted/);
    });

    it("refuses a receipt whose hand-out a power cut took, also when its number was granted again", () => {
      const { f, t, g } = oneOut();
      f.send(t);
      f.isAutoSync = false;
      const [lost] = f.receive(t, g);
      f.crash("power");
      const [again] = f.receive(t, g);
      assert.equal(again!.id, lost!.id);
      assert.equal(f.ack(g, lost!.receipt).code, Code.InvalidReceiptHandle);
      assert.equal(f.ack(g, again!.receipt).code, Code.Ok);
    });

    it("answers a batch entry by entry", () => {
      const { f, g, got } = oneOut();
      const settled = f.state.ack(g, [got.receipt, Buffer.from("nonsense"), got.receipt], f.now);
      assert.ok(settled.ok);
      assert.deepEqual(
        settled.results.map(({ code }) => code),
        [Code.Ok, Code.InvalidReceiptHandle, Code.Ok],
      );
    });

    it("refuses a group it does not know", () => {
      const { f, got } = oneOut();
      const settled = f.state.ack(99, [got.receipt], f.now);
      assert.ok(!settled.ok);
      assert.equal(settled.code, Code.ConsumerGroupNotFound);
    });
  });

  describe("requirement 2: a change is one record", () => {
    it("moves the end of the lease with exactly one record, and survives a kill", () => {
      const { f, t, g, got } = oneOut();
      const records = f.log.recordCount;
      const renewed = f.change(g, got.receipt, ChangeKind.Renew, 30_000);
      assert.equal(f.log.recordCount, records + 1);
      assert.equal(f.log.countOf(RecordType.Change), 1);
      f.crash("kill");
      f.pass(29_999);
      assert.deepEqual(f.receive(t, g), []);
      assert.equal(f.ack(g, renewed.receipt!).code, Code.Ok);
    });

    it("gives a renewal to the same end a new receipt and no lost message", () => {
      const { f, t, g, got } = oneOut();
      f.pass(4_000);
      const renewed = f.change(g, got.receipt, ChangeKind.Renew, 6_000);
      f.pass(6_000);
      assert.equal(f.ack(g, renewed.receipt!).code, Code.InvalidReceiptHandle);
      assert.equal(f.receive(t, g)[0]?.attempt, 2);
    });
  });

  describe("the kinds of change", () => {
    it("renews: the old receipt is void, the new one works", () => {
      const { f, g, got } = oneOut();
      const renewed = f.change(g, got.receipt, ChangeKind.Renew, 20_000);
      assert.equal(renewed.code, Code.Ok);
      assert.equal(f.ack(g, got.receipt).code, Code.InvalidReceiptHandle);
      assert.equal(f.ack(g, renewed.receipt!).code, Code.Ok);
    });

    it("extends: the receipt the client holds stays valid, again and again", () => {
      const { f, t, g, got } = oneOut();
      for (let i = 0; i < 5; i++) {
        f.pass(9_000);
        assert.deepEqual(f.change(g, got.receipt, ChangeKind.Extend, 10_000).receipt, got.receipt);
      }
      assert.deepEqual(f.receive(t, g), []);
      assert.equal(f.ack(g, got.receipt).code, Code.Ok);
    });

    it("does not bring an acked message back by a late renewal", () => {
      const { f, t, g, got } = oneOut();
      f.ack(g, got.receipt);
      assert.equal(f.change(g, got.receipt, ChangeKind.Renew, 0).code, Code.InvalidReceiptHandle);
      assert.equal(f.change(g, got.receipt, ChangeKind.HandBack, 0).code, Code.InvalidReceiptHandle);
      f.pass(60_000);
      assert.deepEqual(f.receive(t, g), []);
    });

    it("requirement 12: takes 0 to 12 h, and refuses more with ILLEGAL_INVISIBLE_TIME", () => {
      const { f, t, g, got } = oneOut();
      for (const ms of [-1, 43_200_001, Number.NaN]) {
        assert.equal(f.change(g, got.receipt, ChangeKind.Renew, ms).code, Code.IllegalInvisibleTime);
      }
      const long = f.change(g, got.receipt, ChangeKind.Renew, 43_200_000);
      f.pass(43_199_999);
      assert.deepEqual(f.receive(t, g), []);
      assert.equal(f.change(g, long.receipt!, ChangeKind.Renew, 0).code, Code.Ok);
      assert.equal(f.receive(t, g)[0]?.attempt, 2, "a nack of 0 is visible at once");
    });

    it("requirement 12: counts no attempt for a suspension, and none for a hand-back", () => {
      const { f, t, g, got } = oneOut({ attemptsMax: 1 });
      const suspended = f.change(g, got.receipt, ChangeKind.Suspend, 5_000);
      assert.equal(suspended.code, Code.Ok);
      assert.equal(f.change(g, suspended.receipt!, ChangeKind.HandBack, 0).code, Code.Ok);
      const [again] = f.receive(t, g);
      assert.equal(again?.attempt, 1);
      assert.equal(f.change(g, again!.receipt, ChangeKind.HandBack, 0).code, Code.Ok);
      assert.equal(f.receive(t, g)[0]?.attempt, 1);
    });

    it("refuses a kind it does not know", () => {
      const { f, g, got } = oneOut();
      assert.equal(f.change(g, got.receipt, 9 as ChangeKind, 0).code, Code.BadRequest);
    });
  });

  it("changes nothing when the log takes no records", () => {
    const { f, t, g, got } = oneOut();
    f.log.isFull = true;
    assert.throws(() => f.state.ack(g, [got.receipt], f.now), { name: "MeshError" });
    f.log.isFull = false;
    f.assertRebuilt();
    f.pass(10_000);
    assert.equal(f.receive(t, g)[0]?.id, got.id);
  });
});
