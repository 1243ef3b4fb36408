import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { receiptBrokerName } from "../../../../proto/receipt-handle.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const hour = 3_600_000;

function opened() {
  const f = new BrokerFixture({ groupStart: "beginning" });
  const t = f.topic();
  const g = f.group();
  const ids = () => f.receive(t, g).map(({ id }) => id);
  const codeOf = (handle: string, topicId = t) => {
    const recalled = f.recall(topicId, handle);
    return recalled.ok ? recalled.messageId : recalled.code;
  };
  return { f, t, g, ids, codeOf };
}

describe("recalling a timed message", () => {
  it("takes it back: it never comes, and the answer names it and the record to wait for", () => {
    const { f, t, ids } = opened();
    const handle = f.sendTimed(t, f.wallMs + hour, { id: "taken back" });
    f.sendTimed(t, f.wallMs + hour, { id: "stays" });
    const recalled = f.state.recall(t, handle, f.now);
    assert.ok(recalled.ok);
    assert.equal(recalled.messageId, "taken back");
    assert.equal(f.log.look(recalled.position).type, RecordType.Recall);
    f.sync();
    assert.equal(f.state.topics()[0]?.delayed, 1);
    f.pass(hour);
    assert.deepEqual(ids(), ["stays"]);
    f.assertRebuilt();
  });

  it("is answered OK again as long as nothing that was due as late was released, and writes nothing", () => {
    const { f, t, codeOf } = opened();
    const handle = f.sendTimed(t, f.wallMs + hour, { id: "m" });
    assert.equal(codeOf(handle), "m");
    const records = f.log.recordCount;
    assert.equal(codeOf(handle), "m");
    f.crash("power");
    assert.equal(codeOf(handle), "m");
    f.pass(2 * hour);
    assert.equal(codeOf(handle), "m");
    assert.equal(f.log.recordCount, records);
  });

  it("is refused when the message was released", () => {
    const { f, t, codeOf } = opened();
    const handle = f.sendTimed(t, f.wallMs + 1_000, { id: "m" });
    f.pass(1_000);
    assert.equal(codeOf(handle), Code.Forbidden);
    const recalled = f.recall(t, handle);
    assert.match(recalled.ok ? "" : recalled.message, /message m was due at 2023-11-14T22:13:21.000Z/);
    f.wallMs -= hour;
    assert.equal(codeOf(handle), Code.Forbidden, "the clock may be set back; what is done is done");
    f.crash("kill");
    assert.equal(codeOf(handle), Code.Forbidden);
  });

  it("is possible until the release, also when that is late", () => {
    const { f, t, ids, codeOf } = opened();
    const handle = f.sendTimed(t, f.wallMs + 1_000, { id: "m" });
    f.log.takesReleases = false;
    f.pass(2_000);
    assert.equal(codeOf(handle), "m");
    f.log.takesReleases = true;
    f.pass(2_000);
    assert.deepEqual(ids(), []);
  });

  it("needs a handle that this broker gave out, unchanged, and the topic it was given for", () => {
    const { f, t, codeOf } = opened();
    const other = f.topic("ns/other");
    const handle = f.sendTimed(t, f.wallMs + hour, { id: "m" });
    assert.equal(receiptBrokerName(handle), "broker-a");
    assert.equal(codeOf(handle, other), Code.BadRequest);
    assert.equal(codeOf(handle, 99), Code.TopicNotFound);
    for (const text of ["", "nonsense", "broker-a.", "broker-a.AAAA", handle.slice(0, -1), `${handle}A`]) {
      assert.equal(codeOf(text), Code.BadRequest, text);
    }
    assert.equal(codeOf(handle.replace("broker-a", "broker-b")), Code.BadRequest);
    for (let i = "broker-a.".length; i < handle.length; i++) {
      const changed = handle.slice(0, i) + (handle[i] === "A" ? "B" : "A") + handle.slice(i + 1);
      assert.equal(codeOf(changed), Code.BadRequest, `character ${i}`);
    }
    assert.equal(codeOf(handle), "m", "none of that took it back");
  });

  it("does not take receipts for handles, nor handles for receipts", () => {
    const { f, t, g, codeOf } = opened();
    f.send(t);
    const [got] = f.receive(t, g);
    assert.equal(codeOf(got!.receipt.toString()), Code.BadRequest);
    const handle = f.sendTimed(t, f.wallMs + hour);
    assert.equal(f.ack(g, Buffer.from(handle)).code, Code.InvalidReceiptHandle);
  });

  it("carries ids of up to 255 bytes", () => {
    const { f, t, codeOf } = opened();
    for (const id of ["", "ü", "x".repeat(100), "y".repeat(255)]) {
      assert.equal(codeOf(f.sendTimed(t, f.wallMs + hour, { id })), id);
    }
  });

  it("holds after the power goes once it was answered, and did not happen when it goes before", () => {
    const { f, t, ids, codeOf } = opened();
    const first = f.sendTimed(t, f.wallMs + hour, { id: "recalled" });
    const second = f.sendTimed(t, f.wallMs + hour, { id: "not yet" });
    const image = f.state.snapshot();
    assert.equal(codeOf(first), "recalled");
    f.isAutoSync = false;
    assert.equal(codeOf(second), "not yet");
    f.crash("power", image);
    f.pass(hour);
    f.sync();
    assert.deepEqual(ids(), ["not yet"]);
  });

  it("never means another message that got the number of one that a power cut took", () => {
    const { f, t, ids, codeOf } = opened();
    f.isAutoSync = false;
    const dueMs = f.wallMs + hour;
    const handle = f.sendTimed(t, dueMs, { id: "lost" });
    f.crash("power");
    f.isAutoSync = true;
    f.sendTimed(t, dueMs, { id: "other" });
    assert.equal(codeOf(handle), "lost");
    f.pass(hour);
    assert.deepEqual(ids(), ["other"]);
  });

  it("throws and changes nothing when the log takes nothing", () => {
    const { f, t, ids } = opened();
    const handle = f.sendTimed(t, f.wallMs + hour, { id: "m" });
    f.log.isFull = true;
    assert.throws(() => f.state.recall(t, handle, f.now), /disk/);
    f.log.isFull = false;
    f.pass(hour);
    assert.deepEqual(ids(), ["m"]);
  });
});
