import assert from "node:assert/strict";
import { status as GrpcStatus } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { streamLimits } from "../../../../control-plane/xds/ads-stream.ts";
import { contentOf, FakeSidecar } from "../../../support/fake-sidecar.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { groupManifest, TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { Cluster, Endpoints, GroupPolicy, NamespacePolicy, TopicRoute } = ResourceType;

/** Rules of the delta protocol (D1 to D14) with a client that says exactly what each test wants. */
describe("delta ADS", () => {
  let clock: ManualClock;
  let controlPlane: TestControlPlane;
  let sidecar: FakeSidecar;
  const opened: FakeSidecar[] = [];

  const open = (features: string[] = []) => {
    const opening = new FakeSidecar(controlPlane.xdsPort, { id: "fake-sidecar", clientFeatures: features });
    opened.push(opening);
    return opening;
  };
  /** Lets what waits for the end of a burst of changes go out. */
  const passDebounce = () => clock.advanceAndSettle(1_000);

  beforeEach(async () => {
    clock = new ManualClock();
    controlPlane = await TestControlPlane.start({ clock, argv: ["--broker-lease", "1h"] });
    await controlPlane.registerBroker({ brokerName: "broker-a" });
    await controlPlane.apply(topicManifest("orders"), topicManifest("bills"), groupManifest("billing"));
    await passDebounce();
    sidecar = open();
  });
  afterEach(async () => {
    for (const stream of opened.splice(0)) stream.close();
    await controlPlane.stop();
  });

  it("D1: answers every subscribed name, also one that the client was given before", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    const first = await sidecar.take();
    assert.deepEqual(contentOf(first), { type: "TopicRoute", resources: ["default/orders"], removed: [] });
    sidecar.subscribe(TopicRoute, "default/orders");
    const second = await sidecar.take();
    assert.deepEqual(contentOf(second), contentOf(first));
    assert.equal(second.resources[0]?.version, first.resources[0]?.version);
  });

  it("D2: sends nothing for a version that the first request of a type reports, and the resource for an older one", async () => {
    sidecar.subscribe(TopicRoute, "default/orders", "default/bills");
    const held = Object.fromEntries((await sidecar.take()).resources.map(({ name, version }) => [name, version]));

    const second = open();
    const names = ["default/orders", "default/bills"];
    second.send({ typeUrl: TopicRoute, resourceNamesSubscribe: names, initialResourceVersions: held });
    await second.probe();
    assert.equal(second.untakenCount, 0);

    const third = open();
    const old = { ...held, "default/bills": "older" };
    third.send({ typeUrl: TopicRoute, resourceNamesSubscribe: names, initialResourceVersions: old });
    assert.deepEqual(contentOf(await third.take()).resources, ["default/bills"]);
  });

  it("D2: resumes what it did not send: a later change is pushed", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    const version = (await sidecar.take()).resources[0]?.version ?? "";
    const second = open();
    second.send({
      typeUrl: TopicRoute,
      resourceNamesSubscribe: ["default/orders"],
      initialResourceVersions: { "default/orders": version },
    });
    await second.probe();
    await controlPlane.apply(topicManifest("orders", { queues: 16 }));
    assert.deepEqual(contentOf(await second.take()).resources, ["default/orders"]);
  });

  it("D3: tells at once that a name does not exist, keeps the subscription, and pushes it when it is created", async () => {
    sidecar.subscribe(TopicRoute, "default/later", "default/orders");
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "TopicRoute",
      resources: ["default/orders"],
      removed: ["default/later"],
    });
    await controlPlane.apply(topicManifest("later"));
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "TopicRoute",
      resources: ["default/later"],
      removed: [],
    });
  });

  it("D4: tells a deletion, and keeps the subscription: absent, created, deleted, created", async () => {
    sidecar.subscribe(TopicRoute, "default/phoenix");
    assert.deepEqual(contentOf(await sidecar.take()).removed, ["default/phoenix"]);
    const incarnations: number[] = [];
    for (let round = 0; round < 2; round++) {
      await controlPlane.apply(topicManifest("phoenix"));
      await passDebounce();
      const [created] = (await sidecar.take()).resources;
      incarnations.push(popmesh.v1.TopicRoute.decode(created?.resource?.value ?? new Uint8Array()).incarnation);
      await controlPlane.deleteTopic("phoenix");
      await passDebounce();
      assert.deepEqual(contentOf(await sidecar.take()).removed, ["default/phoenix"]);
    }
    assert.deepEqual(incarnations, [1, 2]);
  });

  it("D5: says nothing to an unsubscription, not even of an unknown name, and pushes no change after it", async () => {
    sidecar.subscribe(TopicRoute, "default/orders", "default/bills");
    await sidecar.take();
    sidecar.unsubscribe(TopicRoute, "default/orders", "default/never-heard-of");
    await sidecar.probe();
    await controlPlane.apply(topicManifest("orders", { queues: 16 }), topicManifest("bills", { queues: 16 }));
    assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/bills"]);
    await sidecar.probe();
    assert.equal(sidecar.untakenCount, 0);
  });

  it("D6: answers an unsubscription that everything covers with the resource, or with its removal", async () => {
    sidecar.subscribe(Cluster, "*", "bg/broker-a", "bg/nobody");
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "Cluster",
      resources: ["bg/broker-a"],
      removed: ["bg/nobody"],
    });
    sidecar.unsubscribe(Cluster, "bg/broker-a", "bg/nobody");
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "Cluster",
      resources: ["bg/broker-a"],
      removed: ["bg/nobody"],
    });
  });

  it("D7: does not answer an ACK, nor the ACK of a response that only removed", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    sidecar.ack(await sidecar.next());
    sidecar.subscribe(TopicRoute, "default/later");
    sidecar.ack(await sidecar.next());
    await sidecar.probe();
    assert.equal(sidecar.untakenCount, 0);
  });

  it("D7: does not send a refused version again, but the next one; the refusal is seen in the API and in the metrics", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    sidecar.nack(await sidecar.next(), "segment of no broker group");
    await sidecar.probe();
    assert.equal(sidecar.untakenCount, 0);
    const { items } = await controlPlane.json<{ items: { rejected: number; held: { reason?: string }[] }[] }>(
      "/v1/sidecars",
    );
    assert.equal(items[0]?.rejected, 1);
    assert.deepEqual(
      items[0]?.held.flatMap(({ reason }) => reason ?? []),
      ["segment of no broker group"],
    );
    assert.match(
      (await controlPlane.http("GET", "/stats/prometheus")).body,
      /popmesh_xds_nacks_total\{type="TopicRoute"\} 1/,
    );

    await controlPlane.apply(topicManifest("orders", { queues: 16 }));
    assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/orders"]);
    await sidecar.probe();
    assert.equal((await controlPlane.json<{ items: { rejected: number }[] }>("/v1/sidecars")).items[0]?.rejected, 0);
  });

  it("D8: honours the subscription of a message that carries a stale nonce", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    const first = await sidecar.take();
    sidecar.subscribe(TopicRoute, "default/orders");
    await sidecar.take();
    sidecar.send({ typeUrl: TopicRoute, responseNonce: first.nonce, resourceNamesSubscribe: ["default/bills"] });
    assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/bills"]);
  });

  it("D9: names each resource once per response, however often it was named and changed", async () => {
    sidecar.subscribe(TopicRoute, "default/orders", "default/orders", "default/x", "default/x");
    const first = await sidecar.next();
    assert.deepEqual(contentOf(first), { type: "TopicRoute", resources: ["default/orders"], removed: ["default/x"] });
    // While it is unanswered: asked again, changed twice, deleted.
    sidecar.subscribe(TopicRoute, "default/orders", "default/x");
    await controlPlane.apply(topicManifest("orders", { queues: 16 }), topicManifest("x"));
    await controlPlane.apply(topicManifest("orders", { queues: 17 }));
    await controlPlane.deleteTopic("x");
    await passDebounce();
    await sidecar.probe();
    assert.equal(sidecar.untakenCount, 0, "a second response left before the first was answered");
    sidecar.ack(first);
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "TopicRoute",
      resources: ["default/orders"],
      removed: ["default/x"],
    });
  });

  it("D10: gives every resource the type URL of its response", async () => {
    for (const [typeUrl, name] of [
      [Cluster, "bg/broker-a"],
      [Endpoints, "bg/broker-a"],
      [NamespacePolicy, "default"],
      [GroupPolicy, "default/billing"],
      [TopicRoute, "default/orders"],
    ] as const) {
      sidecar.subscribe(typeUrl, name);
      const response = await sidecar.take();
      assert.equal(response.typeUrl, typeUrl);
      assert.deepEqual(
        response.resources.map(({ resource }) => resource?.type_url),
        [typeUrl],
      );
    }
  });

  it("D11: uses a nonce once per stream, and none of an earlier stream counts", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    const first = await sidecar.next();
    assert.notEqual(first.nonce, "");
    const second = open();
    second.subscribe(TopicRoute, "default/orders");
    const answer = await second.take();
    second.subscribe(TopicRoute, "default/orders", "default/bills");
    assert.notEqual((await second.take()).nonce, answer.nonce);
  });

  it("D12: sends clusters and endpoints ahead of the topic that refers to them, to a client that can take them", async () => {
    const able = open(["popmesh.prefetch"]);
    able.subscribe(TopicRoute, "default/orders");
    assert.deepEqual(contentOf(await able.take()), { type: "Cluster", resources: ["bg/broker-a"], removed: [] });
    assert.deepEqual(contentOf(await able.take()).type, "ClusterLoadAssignment");
    assert.deepEqual(contentOf(await able.take()).resources, ["default/orders"]);
    able.subscribe(TopicRoute, "default/bills");
    assert.deepEqual(contentOf(await able.take()).resources, ["default/bills"], "the cluster was sent twice");

    sidecar.subscribe(TopicRoute, "default/orders");
    await sidecar.take();
    await sidecar.probe();
    assert.equal(sidecar.untakenCount, 0, "a client that did not ask for it was sent a cluster");
  });

  it("D12: does so too when the topic is created after the subscription", async () => {
    const able = open(["popmesh.prefetch"]);
    able.subscribe(TopicRoute, "default/later");
    assert.deepEqual(contentOf(await able.take()).removed, ["default/later"]);
    await controlPlane.apply(topicManifest("later"));
    assert.deepEqual(contentOf(await able.take()).type, "Cluster");
    assert.deepEqual(contentOf(await able.take()).type, "ClusterLoadAssignment");
    assert.deepEqual(contentOf(await able.take()).resources, ["default/later"]);
  });

  it("D13: reports what a reconnecting client holds and what is gone meanwhile", async () => {
    sidecar.send({
      typeUrl: TopicRoute,
      resourceNamesSubscribe: ["default/orders", "default/gone"],
      initialResourceVersions: { "default/gone": "1", "default/dropped": "2" },
    });
    assert.deepEqual(contentOf(await sidecar.take()), {
      type: "TopicRoute",
      resources: ["default/orders"],
      removed: ["default/dropped", "default/gone"],
    });
  });

  it("D14: sends the whole resource, as the content it has now", async () => {
    sidecar.subscribe(TopicRoute, "default/orders");
    await sidecar.take();
    await controlPlane.apply(topicManifest("orders", { queues: 16, state: "draining" }));
    const [resource] = (await sidecar.take()).resources;
    const route = popmesh.v1.TopicRoute.decode(resource?.resource?.value ?? new Uint8Array());
    assert.deepEqual([route.name, route.incarnation, route.messageTypes, route.state], ["default/orders", 1, 2, 3]);
    assert.deepEqual(
      route.segment.map(({ cluster, queueCount, readable, writable }) => [cluster, queueCount, readable, writable]),
      [["bg/broker-a", 16, true, false]],
    );
  });

  describe("subscriptions", () => {
    it("of a name that one message both drops and takes count as taken", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      await sidecar.take();
      const both = { resourceNamesSubscribe: ["default/orders"], resourceNamesUnsubscribe: ["default/orders"] };
      sidecar.send({ typeUrl: TopicRoute, ...both });
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/orders"]);
      await controlPlane.apply(topicManifest("orders", { queues: 16 }));
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/orders"]);
    });

    it("without names mean everything for clusters, and nothing for our types", async () => {
      sidecar.send({ typeUrl: TopicRoute });
      sidecar.send({ typeUrl: Cluster });
      assert.deepEqual(contentOf(await sidecar.take()), { type: "Cluster", resources: ["bg/broker-a"], removed: [] });
      await controlPlane.registerBroker({ brokerName: "broker-b" });
      assert.deepEqual(contentOf(await sidecar.take()), { type: "Cluster", resources: ["bg/broker-b"], removed: [] });
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0);
    });

    it("to everything are answered even when there is nothing", async () => {
      sidecar.subscribe("type.googleapis.com/test.Nothing", "*");
      assert.deepEqual(contentOf(await sidecar.take()), { type: "Nothing", resources: [], removed: [] });
    });

    it("to everything end with *, and what was named stays", async () => {
      await controlPlane.registerBroker({ brokerName: "broker-b" });
      await passDebounce();
      sidecar.subscribe(Cluster, "*", "bg/broker-a");
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["bg/broker-a", "bg/broker-b"]);
      sidecar.unsubscribe(Cluster, "*");
      await sidecar.probe();
      await controlPlane.registerBroker({ brokerName: "broker-c" });
      await passDebounce();
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0);
      assert.deepEqual(
        (
          await controlPlane.json<{ items: { held: { name: string; type: string }[] }[] }>("/v1/sidecars")
        ).items[0]?.held
          .filter(({ type }) => type === "Cluster")
          .map(({ name }) => name),
        ["bg/broker-a"],
      );
    });

    it("to * and back in the first message mean nothing yet", async () => {
      sidecar.send({ typeUrl: Cluster, resourceNamesSubscribe: ["*"], resourceNamesUnsubscribe: ["*"] });
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0);
      sidecar.subscribe(Cluster, "bg/broker-a");
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["bg/broker-a"]);
    });

    it("of two names, together and one after the other, are all answered", async () => {
      for (const name of ["default/orders", "default/a"]) sidecar.subscribe(TopicRoute, name);
      sidecar.subscribe(TopicRoute, "default/bills", "default/b");
      const seen: string[] = [];
      while (seen.length < 4) {
        const { resources, removed } = contentOf(await sidecar.take());
        seen.push(...resources, ...removed);
      }
      assert.deepEqual(seen.sort(), ["default/a", "default/b", "default/bills", "default/orders"]);
    });

    it("of two types do not disturb each other", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      await sidecar.next();
      sidecar.subscribe(GroupPolicy, "default/billing");
      assert.deepEqual(
        contentOf(await sidecar.next()).resources,
        ["default/billing"],
        "a type waits for another's ACK",
      );
    });
  });

  describe("pushes", () => {
    it("merge a burst: 100 changes in 50 ms give at most two responses", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      await sidecar.take();
      const before = sidecar.responses.length;
      // Each response is acknowledged at once: what merges the changes is the debounce, not an unanswered response.
      const newest = (async () => {
        for (;;) {
          const [resource] = (await sidecar.take()).resources;
          const route = popmesh.v1.TopicRoute.decode(resource?.resource?.value ?? new Uint8Array());
          if (route.segment[0]?.queueCount === 108) return;
        }
      })();
      for (let queues = 9; queues < 109; queues++) await controlPlane.apply(topicManifest("orders", { queues }));
      await passDebounce();
      await newest;
      assert.ok(sidecar.responses.length - before <= 2, `${sidecar.responses.length - before} responses`);
    });

    it("go out in the order cluster, endpoints, topic", async () => {
      for (const [type, name] of [
        [TopicRoute, "default/new"],
        [Endpoints, "bg/broker-b"],
        [Cluster, "bg/broker-b"],
      ] as const) {
        sidecar.subscribe(type, name);
        assert.deepEqual(contentOf(await sidecar.take()).removed, [name]);
      }
      // Both changes happen within one quiet period.
      await controlPlane.apply(topicManifest("bills", { queues: 9 }));
      await controlPlane.registerBroker({ brokerName: "broker-b" });
      await controlPlane.apply(topicManifest("new"));
      await passDebounce();
      const types = [];
      for (let i = 0; i < 3; i++) types.push(contentOf(await sidecar.take()).type);
      assert.deepEqual(types, ["Cluster", "ClusterLoadAssignment", "TopicRoute"]);
    });

    it("hold a topic back until the cluster it refers to has gone out", async () => {
      sidecar.subscribe(Cluster, "bg/broker-a", "bg/broker-b");
      const unanswered = await sidecar.next();
      sidecar.subscribe(TopicRoute, "default/new");
      assert.deepEqual(contentOf(await sidecar.take()).removed, ["default/new"]);
      await controlPlane.registerBroker({ brokerName: "broker-b" });
      await controlPlane.apply(topicManifest("new"));
      await passDebounce();
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0, "the topic went out before its cluster");
      sidecar.ack(unanswered);
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["bg/broker-b"]);
      assert.deepEqual(contentOf(await sidecar.take()).resources, ["default/new"]);
    });

    it("send the endpoints again after their cluster was sent again", async () => {
      sidecar.subscribe(Cluster, "bg/broker-a");
      await sidecar.take();
      sidecar.subscribe(Endpoints, "bg/broker-a");
      await sidecar.take();
      sidecar.subscribe(Cluster, "bg/broker-a");
      assert.deepEqual(contentOf(await sidecar.take()).type, "Cluster");
      assert.deepEqual(contentOf(await sidecar.take()).type, "ClusterLoadAssignment");
    });

    it("are cut into responses of about 1 MiB, each answered before the next", async () => {
      const count = 9_000;
      const names = Array.from({ length: count }, (_, i) => `default/${"t".repeat(110)}-${i}`);
      await controlPlane.apply(...names.map((name) => topicManifest(name.slice("default/".length))));
      sidecar.subscribe(TopicRoute, ...names);
      const sizes: number[] = [];
      let received = 0;
      while (received < count) {
        const response = await sidecar.take();
        received += response.resources.length;
        sizes.push(envoy.service.discovery.v3.DeltaDiscoveryResponse.encode(response).finish().length);
      }
      assert.equal(received, count);
      assert.ok(sizes.length > 1 && Math.max(...sizes) < 1.1 * 1024 * 1024, sizes.join(" "));
    });

    it("to a client that never answers stop after one response, and its stream ends after 30 s", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      await sidecar.next();
      await controlPlane.apply(topicManifest("orders", { queues: 16 }));
      await clock.advanceAndSettle(29_000);
      await sidecar.probe();
      assert.equal(sidecar.untakenCount, 0);
      await clock.advanceAndSettle(10_000);
      assert.equal((await sidecar.end()).code, GrpcStatus.DEADLINE_EXCEEDED);
    });
  });

  describe("a stream", () => {
    it("whose first request names no node is refused", async () => {
      const nameless = new FakeSidecar(controlPlane.xdsPort, null);
      opened.push(nameless);
      nameless.subscribe(TopicRoute, "default/orders");
      assert.equal((await nameless.end()).code, GrpcStatus.INVALID_ARGUMENT);
    });

    it("whose request names no type is refused", async () => {
      sidecar.subscribe("", "default/orders");
      assert.equal((await sidecar.end()).code, GrpcStatus.INVALID_ARGUMENT);
    });

    it("takes 10 000 names and ends with the next one", async () => {
      const names = Array.from({ length: streamLimits.names }, (_, i) => `default/t${i}`);
      sidecar.subscribe(TopicRoute, ...names);
      assert.equal((await sidecar.take()).removedResources.length, streamLimits.names);
      sidecar.subscribe(TopicRoute, "default/one-more");
      assert.equal((await sidecar.end()).code, GrpcStatus.RESOURCE_EXHAUSTED);
    });

    it("takes 2 000 names in a later message, no more", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      await sidecar.take();
      const names = Array.from({ length: streamLimits.namesPerRequest + 1 }, (_, i) => `default/t${i}`);
      sidecar.subscribe(TopicRoute, ...names);
      assert.equal((await sidecar.end()).code, GrpcStatus.INVALID_ARGUMENT);
    });

    it("answers an impossible name as absent and does not keep it", async () => {
      const impossible = [`default/${"x".repeat(255)}`, "default/a\u0000b", "default/\u007f"];
      sidecar.subscribe(TopicRoute, ...impossible);
      assert.deepEqual(contentOf(await sidecar.take()).removed, [...impossible].sort());
      const { items } = await controlPlane.json<{ items: { held: unknown[] }[] }>("/v1/sidecars");
      assert.deepEqual(items[0]?.held, []);
    });

    it("that sends bytes which are no request is refused", async () => {
      sidecar.send({ typeUrl: TopicRoute, responseNonce: "x", resourceNamesSubscribe: ["\ud800"] });
      sidecar.subscribe(TopicRoute, "default/orders");
      await waitUntil("an answer or an end", () => sidecar.untakenCount > 0 || sidecar.ended !== undefined);
      assert.notEqual(sidecar.ended?.code, GrpcStatus.INTERNAL);
    });

    it("ends after about 30 minutes and resumes without a resend", async () => {
      sidecar.subscribe(TopicRoute, "default/orders");
      const [held] = (await sidecar.take()).resources;
      await sidecar.probe();
      await clock.advanceAndSettle(37 * 60_000);
      assert.equal((await sidecar.end()).code, GrpcStatus.OK);
      const next = open();
      next.send({
        typeUrl: TopicRoute,
        resourceNamesSubscribe: ["default/orders"],
        initialResourceVersions: { "default/orders": held?.version ?? "" },
      });
      await next.probe();
      assert.equal(next.untakenCount, 0);
    });

    it("whose versions are of before a restart of the control plane gets nothing that did not change", async () => {
      const names = ["default/orders", "default/bills"];
      sidecar.subscribe(TopicRoute, ...names);
      const held = Object.fromEntries((await sidecar.take()).resources.map(({ name, version }) => [name, version]));
      sidecar.subscribe(Cluster, "bg/broker-a");
      const clusters = Object.fromEntries((await sidecar.take()).resources.map(({ name, version }) => [name, version]));
      sidecar.subscribe(Endpoints, "bg/broker-a");
      const endpoints = Object.fromEntries(
        (await sidecar.take()).resources.map(({ name, version }) => [name, version]),
      );
      await controlPlane.restart();
      const next = open(["popmesh.prefetch"]);
      const resume = (typeUrl: string, versions: Record<string, string>) =>
        next.send({ typeUrl, resourceNamesSubscribe: Object.keys(versions), initialResourceVersions: versions });
      resume(Cluster, clusters);
      resume(Endpoints, endpoints);
      resume(TopicRoute, held);
      await next.probe();
      assert.equal(next.untakenCount, 0);
    });
  });
});
