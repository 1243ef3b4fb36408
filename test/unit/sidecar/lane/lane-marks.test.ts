import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { MessageScan, scanMessage } from "../../../../proto/codec/message-scan.ts";
import { isLaneName, receivingLaneOf } from "../../../../sidecar/lane/lane.ts";
import { LaneMarks } from "../../../../sidecar/lane/lane-marks.ts";
import { TraceLanes } from "../../../../sidecar/lane/trace-lanes.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const otherSpan = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-00";
const otherTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

type Properties = Readonly<Record<string, string>>;

function scanned(userProperties: Properties, traceContext?: string): MessageScan {
  const system = { messageId: "m", ...(traceContext === undefined ? {} : { traceContext }) };
  const bytes = apache.rocketmq.v2.Message.encode({ userProperties, systemProperties: system }).finish();
  const scan = new MessageScan();
  scanMessage(Buffer.from(bytes), 0, bytes.length, scan);
  return scan;
}

describe("the lane mark of a message", () => {
  let marks: LaneMarks;
  beforeEach(() => {
    marks = new LaneMarks("blue", new TraceLanes(new ManualClock()));
  });

  const laneOf = (...messages: MessageScan[]): string => {
    const mark = marks.of(messages, messages.length);
    return mark.ok ? mark.lane : `refused: ${mark.message}`;
  };

  it("is the lane of the instance where it says nothing", () => {
    assert.equal(laneOf(scanned({})), "blue");
    assert.equal(laneOf(scanned({ user: "42", "x-popmesh-lame": "canary", traceparent })), "blue");
    assert.equal(receivingLaneOf("canary", false), "canary");
    assert.equal(receivingLaneOf("canary", true), "base");
  });

  it("is the same object for all that say nothing: nothing is allocated", () => {
    const message = [scanned({ user: "42" })];
    assert.equal(marks.of(message, 1), marks.of(message, 1));
  });

  it("is what its property says, then its baggage, then its trace", () => {
    marks.noteDelivered(scanned({ traceparent }), "green");
    const all = { "x-popmesh-lane": "canary", baggage: "popmesh-lane=red", traceparent: otherSpan };
    assert.equal(laneOf(scanned(all)), "canary");
    const { "x-popmesh-lane": _, ...rest } = all;
    assert.equal(laneOf(scanned(rest)), "red");
    assert.equal(laneOf(scanned({ traceparent: otherSpan })), "green");
    assert.equal(laneOf(scanned({ traceparent: otherTrace })), "blue");
  });

  it("F16: of what base sends because it handled a canary's message is the canary's, while the trace is known", () => {
    const clock = new ManualClock();
    const base = new LaneMarks("base", new TraceLanes(clock));
    const sentOn = (properties: Record<string, string>): string => {
      const mark = base.of([scanned(properties)], 1);
      return mark.ok ? mark.lane : mark.message;
    };
    assert.equal(sentOn({ traceparent }), "base", "nothing of the trace came by");
    base.noteDelivered(scanned({ traceparent }), "canary");
    assert.equal(sentOn({ traceparent: otherSpan }), "canary", "another span of the same trace");
    assert.equal(sentOn({ traceparent: otherTrace }), "base");
    assert.equal(sentOn({}), "base");
    clock.advance(600_001);
    assert.equal(sentOn({ traceparent: otherSpan }), "base", "nothing of it was seen for ten minutes");
  });

  it("of a trace is found by the system property too, on both ends (F16)", () => {
    marks.noteDelivered(scanned({}, traceparent), "canary");
    assert.equal(laneOf(scanned({}, otherSpan)), "canary");
    assert.equal(laneOf(scanned({ traceparent: otherSpan })), "canary");
    assert.equal(laneOf(scanned({ traceparent: "garbage" }, otherSpan)), "canary");
    assert.equal(laneOf(scanned({}, "an id of another tracer")), "blue");
  });

  it("may be base by word, but base is not remembered", () => {
    assert.equal(laneOf(scanned({ "x-popmesh-lane": "base" })), "base");
    marks.noteDelivered(scanned({ traceparent }), "base");
    marks.noteDelivered(scanned({ traceparent }), "");
    assert.equal(laneOf(scanned({ traceparent })), "blue");
  });

  it("is refused when it is no name of a lane, with the property and why", () => {
    assert.match(
      laneOf(scanned({ "x-popmesh-lane": "no lane" })),
      /^refused: the property x-popmesh-lane is "no lane", /,
    );
    assert.match(laneOf(scanned({ "x-popmesh-lane": "" })), /is "", and the name of a lane is empty/);
  });

  it("is not taken from baggage that names none", () => {
    for (const baggage of ["popmesh-lane=no lane", "popmesh-lane=", "popmesh-lane", "%%%", "a=b"]) {
      assert.equal(laneOf(scanned({ baggage })), "blue", baggage);
    }
  });

  it("is found in baggage wherever it stands there", () => {
    const others = [
      "user=7,popmesh-lane=red",
      "pop=1,popmesh-lane=red,k=v",
      "popmesh-la=ne,popopmesh-lane=no,popmesh-lane=red",
    ];
    for (const baggage of ["popmesh-lane=red", ...others]) assert.equal(laneOf(scanned({ baggage })), "red", baggage);
  });

  it("is one for all messages of a request: what some say counts for those that say nothing", () => {
    const said = scanned({ "x-popmesh-lane": "canary" });
    const inBaggage = scanned({ baggage: "popmesh-lane=red" });
    assert.equal(laneOf(scanned({}), said, inBaggage), "canary");
    assert.equal(laneOf(inBaggage, said), "canary");
    assert.equal(laneOf(scanned({}), inBaggage), "red");
    marks.noteDelivered(scanned({ traceparent }), "green");
    assert.equal(laneOf(scanned({ traceparent }), inBaggage), "red");
    assert.equal(laneOf(scanned({ traceparent }), scanned({})), "green");
    assert.match(
      laneOf(said, scanned({ "x-popmesh-lane": "red" })),
      /name lane "canary" and lane "red"; send them apart/,
    );
  });

  it("has a name like a DNS label", () => {
    for (const name of ["base", "a", "canary-2", "x".repeat(63)]) assert.equal(isLaneName(name), true, name);
    for (const name of ["", "-a", "a-", "A", "a.b", "a b", "ä", "x".repeat(64)])
      assert.equal(isLaneName(name), false, name);
  });
});
