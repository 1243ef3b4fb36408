import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import type { Log } from "../../../../proto/runtime/log.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { AccessLogFilter } from "../../../../sidecar/filter/access-log.ts";
import { AdmissionFilter } from "../../../../sidecar/filter/admission.ts";
import { DeadlineFilter, effectiveDeadlineMs } from "../../../../sidecar/filter/deadline.ts";
import { continueCall, type Filter, type MeshCall } from "../../../../sidecar/filter/filter.ts";
import { FilterChain } from "../../../../sidecar/filter/filter-chain.ts";
import { NamespaceBinding } from "../../../../sidecar/filter/namespace-binding.ts";
import { ValidationFilter } from "../../../../sidecar/filter/validation.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const callOf = (over: Partial<MeshCall> = {}): MeshCall => ({
  rpc: "SendMessage",
  clientId: "c",
  remoteAddress: "127.0.0.1",
  namespace: "default",
  topic: "t",
  group: "",
  requestBytes: 100,
  messageCount: 1,
  startedMs: 0,
  deadlineMs: 3_000,
  lane: "",
  cluster: "",
  attempts: 0,
  ...over,
});
const codeOf = (filter: Filter, call: MeshCall): number => {
  const verdict = filter.onCall(call);
  return verdict.kind === "answer" ? verdict.code : 0;
};

describe("filter chain", () => {
  it("runs in order, stops at the first answer, and tells those that were passed in reverse", () => {
    const steps: string[] = [];
    const filter = (name: string, answers = false): Filter => ({
      name,
      onCall() {
        steps.push(`+${name}`);
        return answers ? { kind: "answer", code: Code.Forbidden, message: "" } : continueCall;
      },
      onAnswer: (_call, code) => steps.push(`-${name} ${code}`),
    });
    const stopped = new FilterChain([filter("a"), filter("b"), filter("c", true), filter("d")]);
    assert.equal(stopped.enter(callOf()).kind, "answer");
    assert.deepEqual(steps.splice(0), ["+a", "+b", "+c", "-b 40300", "-a 40300"]);
    const open = new FilterChain([filter("a"), filter("b")]);
    const call = callOf();
    assert.equal(open.enter(call), continueCall);
    open.leave(call, Code.Ok);
    assert.deepEqual(steps, ["+a", "+b", "-b 20000", "-a 20000"]);
  });
});

describe("admission filter", () => {
  const limits = { sendsMax: 2, receivesMax: 1, requestBytesMax: 1_000, memoryBytesMax: 1_000 };
  const make = () => new AdmissionFilter(limits, new MetricRegistry());
  const receive = callOf({ rpc: "ReceiveMessage" });

  it("bounds sends, receives and bytes, and gives places back", () => {
    const filter = make();
    assert.equal(codeOf(filter, callOf()), 0);
    assert.equal(codeOf(filter, callOf()), 0);
    assert.equal(codeOf(filter, callOf()), Code.TooManyRequests);
    filter.onAnswer(callOf());
    assert.equal(codeOf(filter, callOf({ requestBytes: 901 })), Code.TooManyRequests);
    assert.equal(codeOf(filter, callOf({ requestBytes: 900 })), 0);
    const other = make();
    assert.equal(codeOf(other, receive), 0);
    assert.equal(codeOf(other, receive), Code.TooManyRequests);
    other.onAnswer(receive);
    assert.equal(codeOf(other, receive), 0);
  });

  it("[S4] sheds receives first and then sends as memory runs short, never acks", () => {
    const filter = make();
    const ack = callOf({ rpc: "AckMessage" });
    filter.noteMemory(850);
    assert.deepEqual(
      [receive, callOf(), ack].map((call) => codeOf(filter, call)),
      [0, 0, 0],
    );
    filter.noteMemory(851);
    assert.deepEqual(
      [receive, callOf(), ack].map((call) => codeOf(filter, call)),
      [Code.MessageNotFound, 0, 0],
    );
    assert.equal(filter.wantsFewerReceives, true);
    filter.noteMemory(951);
    assert.deepEqual(
      [receive, callOf(), ack].map((call) => codeOf(filter, call)),
      [Code.MessageNotFound, Code.TooManyRequests, 0],
    );
  });

  it("lets everything but receives through while draining", () => {
    const filter = make();
    filter.drain();
    assert.equal(codeOf(filter, receive), Code.MessageNotFound);
    for (const rpc of ["SendMessage", "AckMessage", "ChangeInvisibleDuration", "Heartbeat", "QueryRoute"]) {
      assert.equal(codeOf(filter, callOf({ rpc })), 0, rpc);
    }
  });
});

describe("deadline filter", () => {
  it("answers what has no time left", () => {
    const clock = new ManualClock({ monotonicMs: 5_000 });
    const filter = new DeadlineFilter(clock);
    assert.equal(codeOf(filter, callOf({ deadlineMs: 5_000 })), Code.ProxyTimeout);
    assert.equal(codeOf(filter, callOf({ deadlineMs: 5_001 })), 0);
  });

  it("gives a call without a deadline 30 s, and none more than a day", () => {
    assert.equal(effectiveDeadlineMs(1_000, Number.POSITIVE_INFINITY), 31_000);
    assert.equal(effectiveDeadlineMs(1_000, Number.POSITIVE_INFINITY, 5_000), 6_000);
    assert.equal(effectiveDeadlineMs(1_000, 4_000), 4_000);
    assert.equal(effectiveDeadlineMs(0, 1e12), 24 * 3_600_000);
  });
});

describe("validation filter", () => {
  const filter = new ValidationFilter(new NamespaceBinding(""));
  const receive = { rpc: "ReceiveMessage", group: "g" };

  it("wants a client id before anything else", () => {
    assert.equal(codeOf(filter, callOf({ clientId: "", topic: "no.dots" })), Code.ClientIdRequired);
  });

  it("wants the names that a call needs, as the API allows them", () => {
    assert.equal(codeOf(filter, callOf(receive)), 0);
    assert.equal(codeOf(filter, callOf({ ...receive, topic: "" })), Code.IllegalTopic);
    assert.equal(codeOf(filter, callOf({ ...receive, topic: "a".repeat(128) })), Code.IllegalTopic);
    assert.equal(codeOf(filter, callOf({ ...receive, topic: "SELF_TEST_TOPIC" })), Code.IllegalTopic);
    assert.equal(codeOf(filter, callOf({ ...receive, topic: "%DLQ%g" })), 0);
    assert.equal(codeOf(filter, callOf({ ...receive, group: "" })), Code.IllegalConsumerGroup);
    assert.equal(codeOf(filter, callOf({ ...receive, group: "g".repeat(121) })), Code.IllegalConsumerGroup);
    assert.equal(codeOf(filter, callOf({ ...receive, group: "CID_RMQ_SYS_g" })), Code.IllegalConsumerGroup);
    assert.equal(codeOf(filter, callOf({ ...receive, namespace: "a/b" })), Code.BadRequest);
    assert.equal(codeOf(filter, callOf({ rpc: "Heartbeat", topic: "", group: "" })), 0);
    assert.equal(codeOf(filter, callOf({ rpc: "Heartbeat", topic: "", group: "no.dots" })), Code.IllegalConsumerGroup);
  });
});

describe("access log filter", () => {
  function logged(mode: "off" | "errors" | "all") {
    const lines: object[] = [];
    const log: Log = { ...silentLog, info: (fields) => lines.push(fields) };
    const metrics = new MetricRegistry();
    const filter = new AccessLogFilter(mode, new ManualClock(), log, metrics);
    return { filter, lines, metrics };
  }

  it("writes what it is told to: nothing, failures, or all", () => {
    const counts = (["off", "errors", "all"] as const).map((mode) => {
      const { filter, lines } = logged(mode);
      for (const code of [Code.Ok, Code.MessageNotFound, Code.Forbidden]) filter.onAnswer(callOf(), code);
      return lines.length;
    });
    assert.deepEqual(counts, [0, 1, 3]);
  });

  it("writes at most 50 lines of failures a second and counts the rest", () => {
    const { filter, lines, metrics } = logged("errors");
    for (let i = 0; i < 200; i++) filter.onAnswer(callOf(), Code.Forbidden);
    assert.equal(lines.length, 50);
    assert.match(metrics.prometheusText(), /suppressed_total 150/);
    assert.match(metrics.prometheusText(), /calls_total\{code="FORBIDDEN",rpc="SendMessage"\} 200/);
  });
});
