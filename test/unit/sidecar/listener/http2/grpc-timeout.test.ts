import assert from "node:assert/strict";
import { malformedTimeout, parseGrpcTimeout } from "../../../../../sidecar/listener/http2/grpc-timeout.ts";

function parse(text: string): number {
  // Surrounded, so that a parser that looks beyond its range is seen.
  const bytes = Buffer.from(`9${text}9`, "latin1");
  return parseGrpcTimeout(bytes, 1, bytes.length - 1);
}

describe("grpc-timeout", () => {
  const table: readonly (readonly [string, number])[] = [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["2999m", 2999],
    ["500u", 0.5],
    ["1n", 1e-6],
    ["0S", 0],
    ["00000000n", 0],
    ["99999999n", 99.999999],
    ["2147483647m", malformedTimeout], // ten digits
    ["2147483S", 2_147_483_000],
    ["2147484S", Number.POSITIVE_INFINITY], // beyond 2^31-1 ms
    ["596H", 2_145_600_000],
    ["597H", Number.POSITIVE_INFINITY],
    ["31536000M", Number.POSITIVE_INFINITY], // the Java SDK's Telemetry
    ["525600M", Number.POSITIVE_INFINITY],
    ["99999999H", Number.POSITIVE_INFINITY],
    ["", malformedTimeout],
    ["S", malformedTimeout],
    ["5", malformedTimeout],
    ["-1S", malformedTimeout],
    ["+1S", malformedTimeout],
    ["1.5S", malformedTimeout],
    [" 1S", malformedTimeout],
    ["1S ", malformedTimeout],
    ["1s", malformedTimeout],
    ["1h", malformedTimeout],
    ["1e3S", malformedTimeout],
    ["0x1S", malformedTimeout],
    ["123456789S", malformedTimeout],
    ["abc5Sxyz", malformedTimeout],
    ["1SS", malformedTimeout],
    ["\u00b9S", malformedTimeout],
  ];
  for (const [text, expected] of table) {
    const name = expected === malformedTimeout ? "malformed" : `${expected} ms`;
    it(`reads "${text}" as ${name}`, () => {
      const actual = parse(text);
      assert.ok(Object.is(actual, expected) || Math.abs(actual - expected) < 1e-9, `${actual}`);
    });
  }
});
