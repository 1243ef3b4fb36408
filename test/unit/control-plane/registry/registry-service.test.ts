import assert from "node:assert/strict";
import { status as GrpcStatus } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { Code } from "../../../../proto/code.ts";
import { FakeSidecar } from "../../../support/fake-sidecar.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { groupManifest, TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

const { Cluster, Endpoints, TopicRoute } = ResourceType;
const Health = envoy.config.core.v3.HealthStatus;

describe("the registry", () => {
  let clock: ManualClock;
  let controlPlane: TestControlPlane;
  let sidecar: FakeSidecar;

  const start = async (...argv: string[]) => {
    clock = new ManualClock();
    controlPlane = await TestControlPlane.start({ clock, argv });
    sidecar = new FakeSidecar(controlPlane.xdsPort);
  };
  afterEach(async () => {
    sidecar.close();
    await controlPlane.stop();
  });

  /** The endpoints in the next push: "host:port health". */
  const nextEndpoints = async () => {
    const { resources } = await sidecar.take();
    const bytes = resources[0]?.resource?.value ?? new Uint8Array();
    return envoy.config.endpoint.v3.ClusterLoadAssignment.decode(bytes).endpoints.flatMap(({ lbEndpoints }) =>
      lbEndpoints.map(({ endpoint, healthStatus }) => {
        const socket = endpoint?.address?.socketAddress;
        return `${socket?.address}:${socket?.portValue} ${Health[healthStatus]}`;
      }),
    );
  };
  const follow = async (name: string) => {
    sidecar.subscribe(Endpoints, `bg/${name}`);
    return nextEndpoints();
  };
  const routeOf = async (name: string) => {
    const { resources } = await sidecar.take();
    const found = resources.find((resource) => resource.name === name);
    return popmesh.v1.TopicRoute.decode(found?.resource?.value ?? new Uint8Array());
  };
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => GrpcStatus.OK,
      (error: { code: number }) => error.code,
    );

  describe("for brokers", () => {
    beforeEach(() => start());

    it("gives a lease of 10 s; without renewal the endpoint is unhealthy, but stays, and comes back", async () => {
      const { leaseMs } = await controlPlane.registerBroker({ brokerName: "a" });
      assert.equal(leaseMs, 10_000);
      assert.deepEqual(await follow("a"), ["127.0.0.1:17000 HEALTHY"]);
      for (let second = 0; second < 9; second += 3) {
        await clock.advanceAndSettle(3_000);
        await controlPlane.registerBroker({ brokerName: "a" });
      }
      await clock.advanceAndSettle(9_999);
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0, "a renewed lease changed something");
      await clock.advanceAndSettle(1);
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 UNHEALTHY"]);
      sidecar.subscribe(Cluster, "bg/a");
      assert.equal((await sidecar.take()).resources.length, 1);
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 UNHEALTHY"], "endpoints follow their cluster");
      await clock.advanceAndSettle(1_000);
      await controlPlane.registerBroker({ brokerName: "a" });
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 HEALTHY"]);
    });

    it("tells draining, a full disk, and a farewell", async () => {
      await controlPlane.registerBroker({ brokerName: "a" });
      assert.deepEqual(await follow("a"), ["127.0.0.1:17000 HEALTHY"]);
      await clock.advanceAndSettle(1_000);
      await controlPlane.registerBroker({ brokerName: "a", draining: true });
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 DRAINING"]);
      await clock.advanceAndSettle(1_000);
      await controlPlane.registerBroker({ brokerName: "a", writable: false });
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 DEGRADED"]);
      await clock.advanceAndSettle(1_000);
      await controlPlane.deregisterBroker({ brokerName: "a", runId: 1 });
      assert.deepEqual(await nextEndpoints(), []);
    });

    it("lets the newest run of a name win, and tells the one it replaced", async () => {
      await controlPlane.registerBroker({ brokerName: "a", runId: 1 });
      assert.deepEqual(await follow("a"), ["127.0.0.1:17000 HEALTHY"]);
      await clock.advanceAndSettle(1_000);
      await controlPlane.registerBroker({ brokerName: "a", runId: 2, port: 17_002 });
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17002 HEALTHY"]);
      const refused = controlPlane.registerBroker({ brokerName: "a", runId: 1 });
      await assert.rejects(refused, /another broker registered as "a" at 127\.0\.0\.1:17002 .* name of its own/);
      await controlPlane.deregisterBroker({ brokerName: "a", runId: 1 });
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0);
    });

    it("counts every broker as alive for one lease after a restart, and remembers a farewell", async () => {
      await controlPlane.registerBroker({ brokerName: "a" });
      await controlPlane.registerBroker({ brokerName: "b", port: 17_002 });
      await controlPlane.deregisterBroker({ brokerName: "b", runId: 1 });
      sidecar.close();
      await clock.advanceAndSettle(60_000);
      await controlPlane.restart();
      sidecar = new FakeSidecar(controlPlane.xdsPort);
      assert.deepEqual(await follow("a"), ["127.0.0.1:17000 HEALTHY"]);
      assert.deepEqual(await follow("b"), []);
      await clock.advanceAndSettle(10_000);
      assert.deepEqual(await nextEndpoints(), ["127.0.0.1:17000 UNHEALTHY"]);
    });

    it("refuses names, hosts and ports that cannot be", async () => {
      for (const said of [
        { brokerName: "" },
        { brokerName: "a/b" },
        { brokerName: "x".repeat(128) },
        { brokerName: "a", host: "" },
        { brokerName: "a", host: "two words" },
        { brokerName: "a", port: 0 },
        { brokerName: "a", port: 65_536 },
      ]) {
        assert.equal(
          await codeOf(controlPlane.registerBroker(said)),
          GrpcStatus.INVALID_ARGUMENT,
          JSON.stringify(said),
        );
      }
    });

    it("places a topic on all brokers known when it is created, and leaves it there", async () => {
      await controlPlane.registerBroker({ brokerName: "b" });
      await controlPlane.registerBroker({ brokerName: "a" });
      await controlPlane.apply(topicManifest("orders"));
      await controlPlane.registerBroker({ brokerName: "c" });
      await controlPlane.apply(topicManifest("bills"));
      sidecar.subscribe(TopicRoute, "default/orders");
      const clusters = (route: popmesh.v1.TopicRoute) => route.segment.map(({ cluster }) => cluster);
      assert.deepEqual(clusters(await routeOf("default/orders")), ["bg/a", "bg/b"]);
      sidecar.subscribe(TopicRoute, "default/bills");
      assert.deepEqual(clusters(await routeOf("default/bills")), ["bg/a", "bg/b", "bg/c"]);
    });

    it("does not place a topic on a broker whose lease lapsed while another lives", async () => {
      await controlPlane.registerBroker({ brokerName: "a" });
      await clock.advanceAndSettle(10_000);
      await controlPlane.registerBroker({ brokerName: "b" });
      await controlPlane.apply(topicManifest("orders"));
      sidecar.subscribe(TopicRoute, "default/orders");
      assert.deepEqual(
        (await routeOf("default/orders")).segment.map(({ cluster }) => cluster),
        ["bg/b"],
      );
    });

    it("forgets a broker that is gone for good: its topics move, and only then its cluster goes", async () => {
      await controlPlane.registerBroker({ brokerName: "a" });
      await controlPlane.apply(topicManifest("orders"));
      for (const [type, name] of [
        [Cluster, "bg/a"],
        [Endpoints, "bg/a"],
        [TopicRoute, "default/orders"],
      ] as const) {
        sidecar.subscribe(type, name);
        await sidecar.take();
      }
      assert.equal((await controlPlane.http("DELETE", "/v1/brokers/a")).status, 409, "it is alive");
      await clock.advanceAndSettle(1_000);
      await controlPlane.deregisterBroker({ brokerName: "a", runId: 1 });
      assert.deepEqual(await nextEndpoints(), []);
      await controlPlane.registerBroker({ brokerName: "b" });
      await clock.advanceAndSettle(1_000);
      assert.equal((await controlPlane.http("DELETE", "/v1/brokers/a")).status, 200);
      const moved = await sidecar.next();
      assert.deepEqual(
        popmesh.v1.TopicRoute.decode(moved.resources[0]?.resource?.value ?? new Uint8Array()).segment.map(
          ({ cluster }) => cluster,
        ),
        ["bg/b"],
      );
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0, "the cluster went before the topic that left it was acknowledged");
      sidecar.ack(moved);
      assert.deepEqual((await sidecar.take()).removedResources, ["bg/a"]);
      assert.deepEqual((await sidecar.take()).removedResources, ["bg/a"]);
      assert.equal((await controlPlane.http("DELETE", "/v1/brokers/a")).status, 404);
    });

    it("gives a topic that was there before any broker its place with the first one", async () => {
      await controlPlane.apply(topicManifest("orders"));
      sidecar.subscribe(TopicRoute, "default/orders");
      const homeless = await routeOf("default/orders");
      assert.deepEqual([homeless.state, homeless.segment], [popmesh.v1.TopicState.READ_ONLY, []]);
      await clock.advanceAndSettle(1_000);
      await controlPlane.registerBroker({ brokerName: "a" });
      const placed = await routeOf("default/orders");
      assert.equal(placed.state, popmesh.v1.TopicState.ACTIVE);
      assert.deepEqual(
        placed.segment.map(({ cluster }) => cluster),
        ["bg/a"],
      );
    });
  });

  describe("for sidecars, where creating on first use is on", () => {
    beforeEach(async () => {
      await start("--auto-create", "on");
      await controlPlane.registerBroker({ brokerName: "a" });
    });

    it("creates a topic, pushes it, and answers the same again", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      assert.deepEqual((await sidecar.take()).removedResources, ["default/orders"]);
      await clock.advanceAndSettle(1_000);
      const answers = await Promise.all([1, 2, 3].map(() => controlPlane.ensure("Topic", "default/orders")));
      assert.deepEqual(
        answers.map(({ code }) => code),
        [Code.Ok, Code.Ok, Code.Ok],
      );
      assert.equal((await routeOf("default/orders")).incarnation, 1);
    });

    it("creates a group", async () => {
      assert.equal((await controlPlane.ensure("Group", "default/billing")).code, Code.Ok);
      const { items } = await controlPlane.json<{ items: { metadata: object }[] }>("/v1/namespaces/default/groups");
      assert.deepEqual(
        items.map(({ metadata }) => metadata),
        [{ namespace: "default", name: "billing" }],
      );
    });

    it("obeys the namespace's own policy", async () => {
      await controlPlane.apply({
        apiVersion: "popmesh.io/v1",
        kind: "Namespace",
        metadata: { name: "strict" },
        spec: { autoCreateTopics: false },
      });
      assert.equal((await controlPlane.ensure("Topic", "strict/orders")).code, Code.TopicNotFound);
      assert.equal((await controlPlane.ensure("Group", "strict/billing")).code, Code.Ok);
    });

    it("refuses names that cannot be, each with its code", async () => {
      for (const [what, name, code] of [
        ["Topic", "orders", Code.IllegalTopic],
        ["Topic", "default/", Code.IllegalTopic],
        ["Topic", "default/a b", Code.IllegalTopic],
        ["Topic", "default/TBW102", Code.IllegalTopic],
        ["Topic", "default/a/b", Code.IllegalTopic],
        ["Topic", `default/${"x".repeat(128)}`, Code.IllegalTopic],
        ["Topic", "d e/orders", Code.BadRequest],
        ["Group", "default/CID_RMQ_SYS_x", Code.IllegalConsumerGroup],
        ["Group", `default/${"x".repeat(121)}`, Code.IllegalConsumerGroup],
      ] as const) {
        assert.equal((await controlPlane.ensure(what, name)).code, code, name);
      }
    });
  });

  describe("for sidecars, where creating on first use is off", () => {
    beforeEach(() => start());

    it("refuses, and says how to create it", async () => {
      const topic = await controlPlane.ensure("Topic", "default/orders");
      assert.equal(topic.code, Code.TopicNotFound);
      assert.match(topic.message, /popmesh topic create orders$/);
      const group = await controlPlane.ensure("Group", "team-a/billing");
      assert.equal(group.code, Code.ConsumerGroupNotFound);
      assert.match(group.message, /popmesh group create billing -n team-a$/);
    });

    it("says yes to what exists", async () => {
      await controlPlane.apply(topicManifest("orders"), groupManifest("billing"));
      assert.equal((await controlPlane.ensure("Topic", "default/orders")).code, Code.Ok);
      assert.equal((await controlPlane.ensure("Group", "default/billing")).code, Code.Ok);
    });

    it("creates the dead-letter topic of a group that exists, and of no other", async () => {
      await controlPlane.apply(groupManifest("billing"));
      assert.equal((await controlPlane.ensure("Topic", "default/%DLQ%billing")).code, Code.Ok);
      assert.equal((await controlPlane.ensure("Topic", "default/%DLQ%nobody")).code, Code.TopicNotFound);
      const view = await controlPlane.json<{ spec: object }>("/v1/namespaces/default/topics/%25DLQ%25billing");
      assert.deepEqual(view.spec, { type: "mixed", queues: 8, state: "readOnly" });
    });
  });
});
