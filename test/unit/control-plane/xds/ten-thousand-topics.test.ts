import assert from "node:assert/strict";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { contentOf, FakeSidecar } from "../../../support/fake-sidecar.ts";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

const { Cluster, Endpoints, TopicRoute } = ResourceType;
const topicCount = 10_000;

/** On demand means: what a sidecar holds depends on what it uses, not on what there is. Real time, real sockets. */
describe("a control plane with 10 000 topics", function () {
  this.timeout(240_000);
  let controlPlane: TestControlPlane;
  const latencies: string[] = [];

  const timed = async <T>(what: string, action: () => Promise<T>): Promise<T> => {
    const startMs = performance.now();
    const result = await action();
    latencies.push(`${what} ${(performance.now() - startMs).toFixed(1)} ms`);
    return result;
  };
  const connect = () =>
    new FakeSidecar(controlPlane.xdsPort, { id: "three-of-many", clientFeatures: ["popmesh.prefetch"] });
  const heldNames = async () => {
    const { items } = await controlPlane.json<{ items: { held: { type: string; name: string; exists: boolean }[] }[] }>(
      "/v1/sidecars",
    );
    return items.map(({ held }) =>
      held
        .filter(({ exists }) => exists)
        .map(({ type, name }) => `${type} ${name}`)
        .sort(),
    );
  };

  before(async () => {
    controlPlane = await TestControlPlane.start({ argv: ["--broker-lease", "1h"] });
    await controlPlane.registerBroker({ brokerName: "a" });
    const perCall = 2_500;
    await timed(`create ${topicCount} topics`, async () => {
      for (let first = 0; first < topicCount; first += perCall) {
        await controlPlane.apply(...Array.from({ length: perCall }, (_, i) => topicManifest(`topic-${first + i}`)));
      }
    });
  });
  after(async () => {
    await controlPlane.stop();
    process.stdout.write(`        ${latencies.join(", ")}\n`);
  });

  it("gives a sidecar that uses three of them these three and what they refer to", async () => {
    const sidecar = connect();
    const names = ["default/topic-17", "default/topic-4711", "default/topic-9999"];
    const received: string[] = [];
    for (const name of names) {
      await timed(`first use of ${name}`, async () => {
        sidecar.subscribe(TopicRoute, name);
        for (;;) {
          const { type, resources } = contentOf(await sidecar.take());
          received.push(...resources.map((resource) => `${type} ${resource}`));
          if (resources.includes(name)) return;
        }
      });
    }
    const closure = ["Cluster bg/a", "ClusterLoadAssignment bg/a"];
    const exactly = [...closure, ...names.map((name) => `TopicRoute ${name}`)].sort();
    assert.deepEqual(received.sort(), exactly);

    // As a sidecar does: it takes what came unasked into its subscriptions.
    sidecar.subscribe(Cluster, "bg/a");
    assert.deepEqual(contentOf(await sidecar.take()).resources, ["bg/a"]);
    sidecar.subscribe(Endpoints, "bg/a");
    assert.deepEqual(contentOf(await sidecar.take()).resources, ["bg/a"]);
    await sidecar.probe();
    assert.deepEqual(await heldNames(), [exactly]);
    assert.equal(sidecar.untakenCount, 0);
    sidecar.close();
  });

  it("answers an unknown name definitely and at once", async () => {
    const sidecar = connect();
    sidecar.subscribe(TopicRoute, "default/topic-1");
    for (let i = 0; i < 3; i++) await sidecar.take();
    await timed("unknown name", async () => {
      sidecar.subscribe(TopicRoute, "default/no-such-topic");
      assert.deepEqual(contentOf(await sidecar.take()).removed, ["default/no-such-topic"]);
    });
    sidecar.close();
  });

  it("after a restart sends a sidecar that reports its versions nothing that did not change", async () => {
    const names = ["default/topic-17", "default/topic-4711", "default/topic-9999"];
    const before = new FakeSidecar(controlPlane.xdsPort);
    before.subscribe(TopicRoute, ...names);
    const held = Object.fromEntries((await before.take()).resources.map(({ name, version }) => [name, version]));
    before.close();
    await timed("restart", () => controlPlane.restart());
    const after = new FakeSidecar(controlPlane.xdsPort);
    after.send({ typeUrl: TopicRoute, resourceNamesSubscribe: names, initialResourceVersions: held });
    await after.probe();
    assert.equal(after.untakenCount, 0);
    await controlPlane.apply(topicManifest("topic-4711", { queues: 16 }));
    assert.deepEqual(contentOf(await after.take()).resources, ["default/topic-4711"]);
    after.close();
  });
});
