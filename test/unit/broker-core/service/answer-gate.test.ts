import assert from "node:assert/strict";
import { AnswerGate } from "../../../../broker-core/service/answer-gate.ts";
import { giveBody, takeBody } from "../../../../broker-core/service/body-pool.ts";
import type { Connection } from "../../../../broker-core/service/connection.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { withSeed } from "../../../support/test-seed.ts";

/** A log of which only the position matters. */
class Positions {
  passed = 0;
  waiting: { readonly position: number; readonly action: () => void }[] = [];
  asked = 0;

  passedPosition(): number {
    return this.passed;
  }

  whenPassed(position: number, action: () => void): void {
    this.asked++;
    this.waiting.push({ position, action });
  }

  pass(position: number): void {
    this.passed = position;
    const due = this.waiting.filter((waiter) => waiter.position < position);
    this.waiting = this.waiting.filter((waiter) => waiter.position >= position);
    for (const { action } of due) action();
  }
}

const connection = {} as Connection;

describe("A gate for answers", () => {
  it("lets an answer pass when everything up to and with its record has passed, not one byte earlier", () => {
    const log = new Positions();
    const released: number[] = [];
    const gate = new AnswerGate(log, (answer) => released.push(answer.correlation));
    gate.hold(100, connection, 18, 1);
    assert.equal(gate.mayPass(50), false, "others wait before it");
    log.pass(100);
    assert.deepEqual(released, []);
    log.pass(101);
    assert.deepEqual(released, [1]);
    assert.deepEqual([gate.mayPass(100), gate.mayPass(101)], [true, false]);
  });

  it("keeps the order, asks the log once for many, and releases each when it has passed, whatever comes between", () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const log = new Positions();
      const held: { readonly correlation: number; readonly position: number; readonly requestBytes: number }[] = [];
      let released = 0;
      let end = 0;
      let correlation = 0;
      const hold = (): void => {
        end += 1 + randomIndex(randomness, 50);
        // Now and then an answer that depends on an older record.
        const position = randomIndex(randomness, 10) === 0 ? Math.max(log.passed, end - 40) : end;
        if (gate.mayPass(position)) return;
        const answer = gate.hold(position, connection, 18, ++correlation);
        answer.requestBytes = correlation * 7;
        held.push({ correlation, position, requestBytes: correlation * 7 });
      };
      const gate = new AnswerGate(log, (answer) => {
        const expected = held[released++]!;
        const { position, requestBytes } = answer;
        assert.deepEqual({ correlation: answer.correlation, position, requestBytes }, expected);
        assert.ok(answer.position < log.passed);
        // A release may hold further answers (a hand-back appends records).
        if (randomIndex(randomness, 5) === 0) for (let i = 0; i < 3; i++) hold();
        assert.equal(answer.correlation, expected.correlation, "its place is its own while it is released");
      });
      for (let step = 0; step < 3_000; step++) {
        if (randomIndex(randomness, 3) > 0) hold();
        else log.pass(Math.max(log.passed, Math.min(end + 1, log.passed + randomIndex(randomness, 300))));
      }
      log.pass(end + 1);
      while (released < held.length) log.pass(end + 1);
      assert.equal(gate.count, 0);
      assert.ok(log.asked < held.length, "one callback serves many");
    });
  });

  it("uses a body's memory again when its answer has left, and not before", () => {
    const log = new Positions();
    const seen: string[] = [];
    const gate = new AnswerGate(log, (answer) => {
      // Whoever takes a body now must not get the one that is being copied.
      const other = takeBody(10);
      other.write("other");
      seen.push(Buffer.from(answer.body!).toString("latin1"));
      giveBody(other);
    });
    const bodies = ["first", "second"].map((text, i) => {
      const body = takeBody(text.length);
      body.write(text);
      const answer = gate.hold(i, connection, 19, i);
      answer.body = body.subarray(0, text.length);
      answer.pooledBody = body;
      return body;
    });
    assert.notEqual(bodies[0], bodies[1]);
    log.pass(2);
    assert.deepEqual(seen, ["first", "second"]);
    const again = [takeBody(10), takeBody(10), takeBody(10)];
    assert.ok(bodies.every((body) => again.includes(body)));
    assert.ok(takeBody(1_000_000).length >= 1_000_000);
  });

  it("gives everything out when the log will never pass it", () => {
    const gate = new AnswerGate(new Positions(), () => assert.fail("nothing has passed"));
    for (let i = 0; i < 1_000; i++) gate.hold(i, connection, 18, i);
    const given: number[] = [];
    gate.drain((answer) => given.push(answer.correlation));
    assert.deepEqual(given, [...Array(1_000).keys()]);
  });
});
