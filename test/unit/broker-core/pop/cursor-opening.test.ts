import assert from "node:assert/strict";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

/** Whoever was answered relies on where he began: what is sent from then on is for him, whatever crashes. */
describe("where a group begins to read a topic", () => {
  function opened() {
    const f = new BrokerFixture({ groupStart: "end" });
    const t = f.topic();
    const g = f.group();
    f.isAutoSync = false;
    const leave = (ticket: number): "at once" | "written" | "durable" => {
      const answer = f.answers.get(ticket);
      assert.ok(answer?.kind === "batch");
      if (answer.mustBeDurable) {
        assert.ok(answer.position < f.log.endPosition, "what it waits for is in the log");
        return "durable";
      }
      return answer.position < 0 ? "at once" : "written";
    };
    return { f, t, g, leave };
  }

  it("is on disk before its first receive is answered with nothing", () => {
    const { f, t, g, leave } = opened();
    const first = f.ask(t, g);
    assert.equal(leave(first.ticket), "durable");
    assert.equal(leave(f.ask(t, g).ticket), "durable", "the next one, while it is not on disk");
    f.sync();
    assert.equal(leave(f.ask(t, g).ticket), "at once");
  });

  it("is on disk before the end of a wait is answered", () => {
    const { f, t, g, leave } = opened();
    const { ticket } = f.ask(t, g, { waitMs: 100 });
    f.pass(100);
    assert.equal(leave(ticket), "durable");
  });

  it("is on disk before messages are answered that came at that very moment", () => {
    const { f, t, g, leave } = opened();
    f.send(t);
    const behindMessage = f.log.endPosition;
    const { ticket } = f.ask(t, g, { waitMs: 10_000 });
    f.log.write();
    // On disk is the message, and not yet where the group begins.
    f.log.durablePosition = behindMessage;
    f.log.onDurable?.(behindMessage);
    assert.equal(leave(ticket), "durable");
    f.sync();
    f.send(t);
    f.sync();
    assert.equal(leave(f.ask(t, g).ticket), "written");
  });

  it("is a matter of each topic", () => {
    const { f, t, g, leave } = opened();
    f.ask(t, g);
    f.sync();
    const other = f.topic("ns/other");
    assert.equal(leave(f.ask(other, g).ticket), "durable");
    assert.equal(leave(f.ask(t, g).ticket), "at once");
  });

  it("needs no wait after a start: what a start finds is on disk", () => {
    const { f, t, g, leave } = opened();
    f.ask(t, g);
    f.log.write();
    f.crash("kill");
    assert.equal(leave(f.ask(t, g).ticket), "at once");
  });
});
