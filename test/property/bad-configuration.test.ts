import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { badManifests, badResources, groundManifests, spoiled } from "../support/bad-configuration.ts";
import { message, receiveRequest } from "../support/raw-v2-client.ts";
import { TestControlPlane, topicManifest } from "../support/start-control-plane.ts";
import { SidecarUnderTest } from "../support/start-sidecar.ts";
import { amount, patience } from "../support/test-factor.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";
import { waitUntil } from "../support/wait-until.ts";

const perChange = 200;
const nightly = 20_000;
const count = amount(perChange, nightly);

interface Mistake {
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly reason: string;
}

/** Whether a path is that of a field, or of something in it. */
function isWithin(path: string, field: string): boolean {
  return path === field || (field !== "" && path.startsWith(`${field}.`));
}

/** What a mistake should point at and does not; undefined: it points at its field, or at what ought to hold it where there is none. */
function fieldAt(text: string, { line, column, path }: Mistake): string | undefined {
  const there = (text.split("\n")[line - 1] ?? "").slice(column - 1);
  const keys = path.split(".");
  const key = keys.at(-1) ?? "";
  if (path === "" || /^\d+$/.test(key)) return there === "" && line > text.split("\n").length ? "the text" : undefined;
  if (there.startsWith(key)) return undefined;
  // Not written at all: then the nearest of what is.
  return text.includes(`${key}:`) ? key : undefined;
}

describe("bad configuration (T16)", function () {
  this.timeout(patience(60_000, perChange, nightly));

  it(`is refused ${count} times out of ${count} by the API, with field, place and what to do, and changes nothing`, async () => {
    const controlPlane = await TestControlPlane.start();
    try {
      const ground = await controlPlane.http("POST", "/v1/apply", groundManifests);
      assert.equal(ground.status, 200, ground.body);
      const all = () =>
        Promise.all(
          [
            "/v1/namespaces",
            ...["topics", "groups", "lanerules", "ratelimits", "rollouts"].map(
              (kind) => `/v1/namespaces/default/${kind}`,
            ),
          ].map((path) => controlPlane.json(path)),
        );
      const before = await all();
      for (const { what, text, at, says } of badManifests(new SeededRandomness(testSeed), count)) {
        const { status, body } = await controlPlane.http("POST", "/v1/apply", text);
        const context = `${what}: ${JSON.stringify(text)} -> ${status} ${body}${againWithSeed()}`;
        assert.ok(status >= 400 && status < 500, context);
        const { mistakes = [] } = JSON.parse(body) as { mistakes?: Mistake[] };
        const told = mistakes.find(({ path, reason }) => isWithin(path, at) && says.test(reason));
        assert.ok(told !== undefined, context);
        for (const mistake of mistakes) {
          assert.doesNotMatch(mistake.reason, /^(Invalid|Too|Unrecognized)/, `not in our words: ${context}`);
          assert.equal(fieldAt(text, mistake), undefined, context);
        }
      }
      assert.deepEqual(await all(), before);
      await controlPlane.apply(topicManifest("good", { queues: 16 }));
    } finally {
      await controlPlane.stop();
    }
  });

  it(`is refused ${count} times out of ${count} by the sidecar, with the reason, while it serves by the last good one`, async () => {
    const mesh = await SidecarUnderTest.start();
    try {
      const { plane } = mesh;
      plane.setRateLimit(spoiled.limit, { messagesPerSecond: 1_000_000 });
      plane.setTopic(spoiled.topic, { brokers: ["broker-a"], rateLimits: [spoiled.limit] });
      plane.setGroup(spoiled.group);
      const client = mesh.client();
      const serves = async (context: string) => {
        const sent = await client.call("SendMessage", { messages: [message("good", "x")] });
        assert.equal(sent.status?.code, Code.Ok, context);
      };
      const seconds = { seconds: 0, nanos: 1_000_000 };
      await serves("before");
      await client.receive(receiveRequest("good", "good", { longPollingTimeout: seconds }));
      await waitUntil("all types are of interest", () =>
        [spoiled.topic, spoiled.group, spoiled.namespace, spoiled.limit, spoiled.cluster].every((name) =>
          plane.requests.some(({ resourceNamesSubscribe }) => resourceNamesSubscribe.includes(name)),
        ),
      );
      await waitUntil("endpoints are", () =>
        plane.requests.some(
          ({ typeUrl, resourceNamesSubscribe }) =>
            typeUrl.endsWith("ClusterLoadAssignment") && resourceNamesSubscribe.includes(spoiled.cluster),
        ),
      );
      const nacks = () => plane.requests.filter(({ errorDetail }) => errorDetail !== null);
      let refused = nacks().length;
      for (const { what, typeUrl, name, bytes } of badResources(new SeededRandomness(testSeed), count)) {
        const context = `${what} ${Buffer.from(bytes).toString("hex")}${againWithSeed()}`;
        plane.set(typeUrl, name, bytes);
        await waitUntil(`the refusal of ${context}`, () => nacks().length > refused);
        const newest = nacks().slice(refused);
        assert.equal(newest.length, 1, context);
        assert.equal(newest[0]?.typeUrl, typeUrl, context);
        assert.ok(newest[0]?.errorDetail?.message.startsWith(`"${name}" `), context);
        refused++;
        await serves(context);
      }
      plane.setTopic(spoiled.topic, { brokers: ["broker-b"] });
      plane.setBroker("broker-b");
      await waitUntil("the next good one is in force", async () => {
        await serves("after");
        return mesh.upstream("broker-b").sends.length > 0;
      });
    } finally {
      await mesh.stop();
    }
  });
});
