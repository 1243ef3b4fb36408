import assert from "node:assert/strict";
import { baggageMember, traceIdOf } from "../../../../sidecar/lane/trace-context.ts";

const id = "4bf92f3577b34da6a3ce929d0e0e4736";

describe("W3C trace context", () => {
  const traceId = (text: string): string => {
    const bytes = Buffer.from(`xx${text}yy`);
    return traceIdOf(bytes, 2, bytes.length - 2);
  };

  for (const [what, text, expected] of [
    ["a traceparent", `00-${id}-00f067aa0ba902b7-01`, id],
    ["one of a later version with more behind it", `cc-${id}-00f067aa0ba902b7-01-what-comes`, id],
    ["a trace id of zeros", `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, ""],
    ["capital letters", `00-${id.toUpperCase()}-00f067aa0ba902b7-01`, ""],
    ["a trace id that is too short", `00-${id.slice(1)}-00f067aa0ba902b7-01`, ""],
    ["a text that ends with its trace id", `00-${id}`, ""],
    ["a version that is none", `0x-${id}-00f067aa0ba902b7-01`, ""],
    ["something else", "1-5759e988-bd862e3fe1be46a994272793;Sampled=1", ""],
    ["nothing", "", ""],
  ] as const) {
    it(`reads of ${what} ${expected === "" ? "no trace id" : "its trace id"}`, () =>
      assert.equal(traceId(text), expected));
  }

  for (const [what, text, expected] of [
    ["alone", "popmesh-lane=canary", "canary"],
    ["among others, with spaces", "user=7, popmesh-lane = canary ,k=v", "canary"],
    ["with properties", "popmesh-lane=canary;ttl=5;secure", "canary"],
    ["encoded", "popmesh-lane=blue%2D2", "blue-2"],
    ["encoded badly", "popmesh-lane=blue%2", "blue%2"],
    ["twice: the first counts", "popmesh-lane=a,popmesh-lane=b", "a"],
    ["as a part of another name", "x-popmesh-lane=a,popmesh-lanes=b", ""],
    ["without a value", "popmesh-lane", ""],
    ["not at all", "", ""],
  ] as const) {
    it(`finds a member of baggage ${what}`, () => assert.equal(baggageMember(text, "popmesh-lane"), expected));
  }
});
