import assert from "node:assert/strict";
import { readManifests } from "../../../../control-plane/resource/manifest.ts";
import type { ManifestMistake } from "../../../../control-plane/resource/manifest-mistake.ts";

function mistakesOf(text: string): readonly ManifestMistake[] {
  const reading = readManifests(text);
  assert.ok(!reading.ok, "the text was accepted");
  return reading.mistakes;
}

const topic = (spec: string, name = "orders") =>
  `apiVersion: popmesh.io/v1\nkind: Topic\nmetadata:\n  name: ${name}\nspec: ${spec}\n`;
const group = (spec: string) =>
  `apiVersion: popmesh.io/v1\nkind: ConsumerGroup\nmetadata: { name: billing }\nspec: ${spec}\n`;

describe("manifests", () => {
  it("of several kinds in one text are read, with defaults left out", () => {
    const reading = readManifests(
      [
        topic("{ type: fifo, queues: 4 }"),
        group("{ attemptsMax: 3, backoff: { list: [1s, 5m] }, longPolling: 10s }"),
        "apiVersion: popmesh.io/v1\nkind: Namespace\nmetadata: { name: team-a }\nspec: { autoCreateTopics: true }\n",
      ].join("---\n"),
    );
    assert.ok(reading.ok);
    assert.deepEqual(
      reading.manifests.map(({ kind, namespace, name, spec }) => ({ kind, namespace, name, spec })),
      [
        { kind: "Topic", namespace: "default", name: "orders", spec: { type: "fifo", queues: 4 } },
        {
          kind: "ConsumerGroup",
          namespace: "default",
          name: "billing",
          spec: { attemptsMax: 3, backoff: { kind: "list", delaysMs: [1_000, 300_000] }, longPollingMs: 10_000 },
        },
        { kind: "Namespace", namespace: "team-a", name: "team-a", spec: { autoCreateTopics: true } },
      ],
    );
  });

  it("may be JSON too", () => {
    const text = JSON.stringify({ apiVersion: "popmesh.io/v1", kind: "Topic", metadata: { name: "orders" } });
    assert.ok(readManifests(text).ok);
  });

  it("may be lists, and may carry the status that the API adds", () => {
    const item = (name: string) =>
      `- apiVersion: popmesh.io/v1\n  kind: Topic\n  metadata: { name: ${name} }\n  spec: { queues: 4 }\n  status: { x: 1 }\n`;
    const reading = readManifests(item("a") + item("b"));
    assert.ok(reading.ok);
    assert.deepEqual(
      reading.manifests.map(({ name, at }) => `${name} ${at([]).line}`),
      ["a 1", "b 6"],
    );
    assert.deepEqual(mistakesOf(item("a") + item("TBW102"))[0], {
      line: 8,
      column: 15,
      path: "metadata.name",
      reason: '"TBW102" is reserved by the system',
    });
  });

  it("tell every mistake of every document at once, each with its line", () => {
    const mistakes = mistakesOf(`${topic("\n  type: lifo\n  queues: 0")}---\n${group("{ attemptsMax: 1001 }")}`);
    assert.deepEqual(
      mistakes.map(({ line, path }) => ({ line, path })),
      [
        { line: 6, path: "spec.type" },
        { line: 7, path: "spec.queues" },
        { line: 12, path: "spec.attemptsMax" },
      ],
    );
  });

  for (const [text, path, reason] of [
    [topic("{ tpye: fifo }"), "spec.tpye", /did you mean "type"/],
    [topic("{}", '"a b"'), "metadata.name", /has a character other than/],
    [topic("{}", "TBW102"), "metadata.name", /reserved by the system/],
    [topic("{}", "rmq_sys_x"), "metadata.name", /reserved by the system/],
    [topic("{}", "x".repeat(128)), "metadata.name", /longer than 127/],
    [
      group("{ consumeMessageOrderly: true }"),
      "spec.consumeMessageOrderly",
      /said by the topic alone, with type: fifo/,
    ],
    [group("{ delivryMode: broadcast }"), "spec.delivryMode", /did you mean "deliveryMode"/],
    [group("{ backoff: { lst: [1s] } }"), "spec.backoff.lst", /did you mean "list"/],
    [topic("{ attemptsMax: 4 }"), "spec.attemptsMax", /is no field of spec/],
    [group("{ longPolling: 20 }"), "spec.longPolling", /must be a duration/],
    [group("{ backoff: {} }"), "spec.backoff", /either list.*or exponential/],
    [group("{ backoff: { list: [1s, later] } }"), "spec.backoff.list.1", /must be a duration/],
    [
      group("{ backoff: { exponential: { initial: 2s, max: 1s, multiplier: 2 } } }"),
      "spec.backoff.exponential.initial",
      /not be longer than max/,
    ],
    [
      group("{ backoff: { exponential: { initial: 1s, max: 2s } } }"),
      "spec.backoff.exponential.multiplier",
      /^is missing; it must be a number$/,
    ],
    [
      topic("{ type: fifa }"),
      "spec.type",
      /must be one of normal, fifo, .* and is the text "fifa"; did you mean "fifo"/,
    ],
    [topic("{ queues: '8' }"), "spec.queues", /must be a .*number, and is the text "8"; leave out the quotes/],
    [topic("{ queues: 0 }"), "spec.queues", /^must be 1 or more$/],
    [topic("{ queues: 1.5 }"), "spec.queues", /^must be a whole number, and is 1\.5$/],
    [topic("[]"), "spec", /^must be a group of fields, such as .*, and is a list$/],
    [group("{ backoff: { list: [] } }"), "spec.backoff.list", /^must have 1 or more entries$/],
    ["apiVersion: popmesh.io/v1\nkind: Topic\n", "metadata", /^is missing; it must be a group of fields/],
    ["apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: 7 }\n", "metadata.name", /for a text write "7"/],
    ["- 1\n- 2\n", "", /group of fields/],
    [group("{ longPolling: soon }"), "spec.longPolling", /must be a duration/],
    ["apiVersion: popmesh.io/v2\nkind: Topic\nmetadata: { name: a }\n", "apiVersion", /popmesh\.io\/v1/],
    ["apiVersion: popmesh.io/v1\nkind: Queue\nmetadata: { name: a }\n", "kind", /Topic/],
    ["a: [1, 2\n", "", /./],
    ["a: 1\na: 2\n", "", /unique/],
    ["", "", /holds no document/],
    ["a: &x [1]\nb: *x\n", "", /alias/i],
  ] as const) {
    it(`refuse ${JSON.stringify(text.slice(0, 60))} at ${path === "" ? "the document" : path}`, () => {
      const mistakes = mistakesOf(text);
      const found = mistakes.find((mistake) => mistake.path === path && reason.test(mistake.reason));
      assert.ok(found, JSON.stringify(mistakes));
    });
  }
});
