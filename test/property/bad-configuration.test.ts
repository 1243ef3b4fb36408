import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { badManifests, badResources, spoiled } from "../support/bad-configuration.ts";
import { message, receiveRequest } from "../support/raw-v2-client.ts";
import { TestControlPlane, topicManifest } from "../support/start-control-plane.ts";
import { SidecarUnderTest } from "../support/start-sidecar.ts";
import { amount, patience } from "../support/test-factor.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";
import { waitUntil } from "../support/wait-until.ts";

const perChange = 200;
const nightly = 20_000;
const count = amount(perChange, nightly);

describe("bad configuration (T16)", function () {
  this.timeout(patience(60_000, perChange, nightly));

  it(`is refused ${count} times out of ${count} by the API, with the line and the reason, and changes nothing`, async () => {
    const controlPlane = await TestControlPlane.start();
    try {
      await controlPlane.apply(topicManifest("good"));
      const before = await controlPlane.json("/v1/namespaces/default/topics");
      for (const { what, text } of badManifests(new SeededRandomness(testSeed), count)) {
        const { status, body } = await controlPlane.http("POST", "/v1/apply", text);
        const context = `${what}: ${JSON.stringify(text)} -> ${status} ${body}${againWithSeed()}`;
        assert.ok(status >= 400 && status < 500, context);
        const { mistakes } = JSON.parse(body) as { mistakes?: { line: number; reason: string }[] };
        assert.ok(mistakes !== undefined && mistakes.length > 0, context);
        for (const { line, reason } of mistakes) assert.ok(line >= 1 && reason.length > 3, context);
      }
      assert.deepEqual(await controlPlane.json("/v1/namespaces/default/topics"), before);
      for (const kind of ["groups", "lane-rules"]) {
        const listed = await controlPlane.http("GET", `/v1/namespaces/default/${kind}`);
        if (listed.status === 200) assert.deepEqual(JSON.parse(listed.body).items, [], kind);
      }
      await controlPlane.apply(topicManifest("good", { queues: 16 }));
    } finally {
      await controlPlane.stop();
    }
  });

  it(`is refused ${count} times out of ${count} by the sidecar, with the reason, while it serves by the last good one`, async () => {
    const mesh = await SidecarUnderTest.start();
    try {
      const { plane } = mesh;
      plane.setTopic(spoiled.topic, { brokers: ["broker-a"] });
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
        [spoiled.topic, spoiled.group, spoiled.namespace, spoiled.cluster].every((name) =>
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
