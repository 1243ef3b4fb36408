import assert from "node:assert/strict";
import { readManifests } from "../../../../control-plane/resource/manifest.ts";
import type { ManifestMistake } from "../../../../control-plane/resource/manifest-mistake.ts";

/** Line 5 is the first of the spec, which is indented by two. */
const limit = (...lines: string[]) =>
  `apiVersion: popmesh.io/v1\nkind: RateLimit\nmetadata: { name: orders-sends }\nspec:\n${lines.map((line) => `  ${line}\n`).join("")}`;

function mistakesOf(text: string): readonly ManifestMistake[] {
  const reading = readManifests(text);
  assert.ok(!reading.ok, "the text was accepted");
  return reading.mistakes;
}

describe("a RateLimit", () => {
  it("is read as the platform team writes it", () => {
    const reading = readManifests(
      limit(
        "topic: orders",
        'client: "checkout-*"',
        "direction: send",
        "messagesPerSecond: 100",
        "bytesPerSecond: 2MiB",
        "burst: 5s",
      ),
    );
    assert.ok(reading.ok, JSON.stringify(reading));
    assert.deepEqual(reading.manifests[0]?.spec, {
      ...{ topic: "orders", group: "", client: "checkout-*", direction: "send" },
      ...{ messagesPerSecond: 100, bytesPerSecond: 2 * 1024 * 1024, burstMs: 5_000 },
    });
  });

  it("has the whole namespace as its target, and a second as its burst, unless it says otherwise", () => {
    const reading = readManifests(limit("direction: receive", "bytesPerSecond: 1000"));
    assert.ok(reading.ok, JSON.stringify(reading));
    assert.deepEqual(reading.manifests[0]?.spec, {
      ...{ topic: "", group: "", client: "", direction: "receive" },
      ...{ messagesPerSecond: 0, bytesPerSecond: 1_000, burstMs: 1_000 },
    });
  });

  for (const [what, lines, path, line, reason] of [
    [
      "a group on sends",
      ["group: billing", "direction: send", "messagesPerSecond: 1"],
      "spec.group",
      5,
      /a send names no group/,
    ],
    ["no rate", ["topic: orders", "direction: send"], "spec", 4, /limits nothing/],
    [
      "a rate of zero",
      ["direction: send", "messagesPerSecond: 0"],
      "spec.messagesPerSecond",
      6,
      /more than zero.*readOnly/,
    ],
    [
      "a rate without end",
      ["direction: send", "messagesPerSecond: .inf"],
      "spec.messagesPerSecond",
      6,
      /must be a number/,
    ],
    ["no size", ["direction: send", "bytesPerSecond: 3 apples"], "spec.bytesPerSecond", 6, /must be a size/],
    [
      "no burst at all",
      ["direction: send", "messagesPerSecond: 9", "burst: 0s"],
      "spec.burst",
      7,
      /must be a duration/,
    ],
    [
      "a burst without unit",
      ["direction: send", "messagesPerSecond: 9", "burst: 5"],
      "spec.burst",
      7,
      /must be a duration/,
    ],
    [
      "a burst of less than a message",
      ["direction: send", "messagesPerSecond: 2", "burst: 400ms"],
      "spec.burst",
      7,
      /less than one message.*500ms/,
    ],
    ["no direction", ["messagesPerSecond: 2"], "spec.direction", 4, /./],
    ["an empty client", ['client: ""', "direction: send", "messagesPerSecond: 2"], "spec.client", 5, /leave it out/],
    [
      "a client that cannot be",
      ['client: "a b"', "direction: send", "messagesPerSecond: 2"],
      "spec.client",
      5,
      /blank/,
    ],
    [
      "a misspelt field",
      ["direction: send", "messagePerSecond: 2"],
      "spec.messagePerSecond",
      6,
      /did you mean "messagesPerSecond"/,
    ],
    [
      "a name of another namespace",
      ["topic: b/orders", "direction: send", "messagesPerSecond: 2"],
      "spec.topic",
      5,
      /character other than/,
    ],
  ] as const) {
    it(`with ${what} is refused, with line and reason`, () => {
      const [first] = mistakesOf(limit(...lines));
      assert.deepEqual([first?.path, first?.line], [path, line]);
      assert.match(first?.reason ?? "", reason);
    });
  }
});
