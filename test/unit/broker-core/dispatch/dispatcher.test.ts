import assert from "node:assert/strict";
import { BrokerState } from "../../../../broker-core/broker-state.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { BrokerFixture, receiptKey } from "../../../support/broker-fixture.ts";

describe("following the log", () => {
  function busy() {
    const f = new BrokerFixture();
    const t = f.topic("ns/orders", { queueCount: 3 });
    const g = f.group("ns/billing", { attemptsMax: 2 });
    f.receive(t, g);
    f.sendMany(t, 200, { tag: "a" });
    for (let i = 0; i < 4; i++) {
      const got = f.receive(t, g, { attemptId: `attempt-${i}`, clientId: `client-${i % 2}` });
      f.ack(g, got[i]!.receipt);
      f.pass(6_000);
    }
    return { f, t, g };
  }

  it("B11: rebuilt from the log, or from a snapshot and the tail, the state is the same byte for byte", () => {
    const { f, t, g } = busy();
    const image = f.state.snapshot();
    f.sendMany(t, 10);
    f.receive(t, g);
    f.pass(3_000);
    f.assertRebuilt(image);
  });

  it("is seen to differ when one record is missing", () => {
    const { f } = busy();
    f.advance();
    for (const skipped of [RecordType.Ack, RecordType.Pop]) {
      const options = { brokerName: "broker-a", receiptKey, runId: 1, bootId: f.bootId, start: f.now };
      const state = new BrokerState(f.log, { receiveAnswered: () => {}, receiveRefused: () => {} }, options);
      const records = Array.from(f.log.records(), (record) => ({ ...record, body: Buffer.from(record.body) }));
      const last = records.findLastIndex(({ type }) => type === skipped);
      for (const [i, record] of records.entries()) if (i !== last) state.replay(record);
      assert.notDeepEqual(state.dump(), f.state.dump());
    }
  });

  it("replays only what a snapshot does not have", () => {
    const { f } = busy();
    const image = f.state.snapshot();
    const restored = f.rebuild(image);
    assert.equal(restored.appliedPosition, f.log.endPosition);
  });

  it("B4: never hands out again what was acked, whatever crash follows the durable ack", () => {
    for (const kind of ["kill", "power"] as const) {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group();
      f.receive(t, g);
      f.sendMany(t, 5);
      const got = f.receive(t, g);
      f.ack(g, got[2]!.receipt);
      f.crash(kind);
      f.pass(60_000);
      assert.deepEqual(
        f.receive(t, g).map(({ id }) => id),
        ["m1", "m2", "m4", "m5"],
      );
    }
  });

  it("requirement 9: leases outlive the process, with their ends, holders and attempts", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group();
    f.receive(t, g);
    f.send(t);
    f.isAutoSync = false;
    const [got] = f.receive(t, g);
    f.log.write();
    f.crash("kill");
    f.pass(9_999);
    assert.deepEqual(f.receive(t, g), [], "not early");
    f.pass(1);
    assert.equal(f.receive(t, g)[0]?.attempt, 2, "not late");
    assert.equal(got?.attempt, 1);
  });

  describe("clocks (B5, B15)", () => {
    function oneOut() {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group();
      f.receive(t, g);
      f.send(t);
      f.receive(t, g, { invisibleMs: 60_000 });
      return { f, visible: () => f.receive(t, g).length === 1 };
    }

    for (const jump of [-3.2e11, -3_600_000, 3_600_000, 3.2e11]) {
      it(`counts leases by the monotonic clock within a boot, also over a restart, when the wall clock jumps by ${jump} ms`, () => {
        const { f, visible } = oneOut();
        f.wallMs += jump;
        f.advance();
        assert.equal(visible(), false);
        f.crash("kill");
        f.pass(59_999);
        assert.equal(visible(), false);
        f.pass(1);
        assert.equal(visible(), true);
      });
    }

    for (const [what, wallPassedMs, leftMs] of [
      ["20 s of downtime", 20_000, 40_000],
      ["an hour of downtime", 3_600_000, 0],
      ["a wall clock set back by a year", -3.2e10, 60_000],
    ] as const) {
      it(`counts what the wall clock says is left after a reboot: ${what}`, () => {
        const { f, visible } = oneOut();
        f.bootId = "boot-2";
        f.monotonicMs = 100;
        f.wallMs += wallPassedMs;
        f.crash("power");
        if (leftMs > 0) {
          f.pass(leftMs - 1);
          assert.equal(visible(), false);
          f.pass(1);
        } else f.advance();
        assert.equal(visible(), true);
      });
    }

    it("does so from a snapshot of the earlier boot too", () => {
      const { f, visible } = oneOut();
      const image = f.state.snapshot();
      f.bootId = "boot-2";
      f.monotonicMs = 100;
      f.wallMs += 20_000;
      f.crash("power", image);
      f.pass(39_999);
      assert.equal(visible(), false);
      f.pass(1);
      assert.equal(visible(), true);
    });
  });

  it("refuses a log of a newer version, and one that does not fit together, instead of starting with less", () => {
    const { f } = busy();
    const records = Array.from(f.log.records(), (record) => ({ ...record, body: Buffer.from(record.body) }));
    const options = { brokerName: "broker-a", receiptKey, runId: 1, bootId: f.bootId, start: f.now };
    const fresh = () => new BrokerState(f.log, { receiveAnswered: () => {}, receiveRefused: () => {} }, options);
    const replay = (changed: typeof records) => {
      const state = fresh();
      for (const record of changed) state.replay(record);
    };
    assert.throws(() => replay([{ ...records[0]!, type: 63 as RecordType }]), /newer version/);
    const without = (type: RecordType) => records.filter((_, i) => i !== records.findIndex((r) => r.type === type));
    assert.throws(() => replay(without(RecordType.TopicOpened)), /unknown topic/);
    assert.throws(() => replay(without(RecordType.GroupOpened)), /unknown group/);
    assert.throws(() => replay(without(RecordType.CursorOpened)), /never opened/);
    assert.throws(() => replay(without(RecordType.Message)), /offset 1 follows/);
    const popAt = records.findIndex((r) => r.type === RecordType.Ack) - 1;
    assert.throws(() => replay(records.filter((_, i) => i !== popAt)), /does not hold/);
    // The same where something is lost before it is a consequence; where that was known already, it is not.
    for (const isKnown of [false, true]) {
      const state = fresh();
      state.lost(0, 1);
      if (isKnown) state.known();
      const goOn = () => {
        for (const record of without(RecordType.CursorOpened)) state.replay(record);
      };
      if (isKnown) assert.throws(goOn, /never opened/);
      else assert.doesNotThrow(goOn);
    }
    for (const record of records) {
      const cut = { ...record, body: record.body.subarray(0, 3) };
      assert.throws(() => fresh().replay(cut), /fixed part alone/, `record type ${record.type}`);
    }
  });
});
