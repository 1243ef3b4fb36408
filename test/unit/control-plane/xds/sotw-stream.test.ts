import assert from "node:assert/strict";
import { status as GrpcStatus } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { FakeSotwClient } from "../../../support/fake-sidecar.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

const { Cluster, Endpoints, Listener, RouteConfiguration, TopicRoute } = ResourceType;
type Response = envoy.service.discovery.v3.DiscoveryResponse;

function namesOf({ typeUrl, resources }: Response): string[] {
  const decode = (value: Uint8Array) =>
    typeUrl === Endpoints
      ? envoy.config.endpoint.v3.ClusterLoadAssignment.decode(value).clusterName
      : envoy.config.cluster.v3.Cluster.decode(value).name;
  return resources.map(({ value }) => decode(value)).sort();
}

describe("state-of-the-world ADS", () => {
  let clock: ManualClock;
  let controlPlane: TestControlPlane;
  let client: FakeSotwClient;

  const register = (name: string) => controlPlane.registerBroker({ brokerName: name });
  /**
   * Asks for a listener that does not exist, and takes the answer (an empty one): whatever the server had to say before
   * has arrived by then.
   */
  const probe = async () => {
    const at = client.responses.length;
    client.ask(Listener, [`probe-${at}`], lastProbe);
    lastProbe = await client.next();
    assert.equal(lastProbe.typeUrl, Listener, "the server said something unexpected");
    client.ask(Listener, [], lastProbe);
  };
  let lastProbe: Response | undefined;

  beforeEach(async () => {
    lastProbe = undefined;
    clock = new ManualClock();
    controlPlane = await TestControlPlane.start({ clock, argv: ["--broker-lease", "1h"] });
    await register("a");
    await register("b");
    await clock.advanceAndSettle(1_000);
    client = new FakeSotwClient(controlPlane.xdsPort);
  });
  afterEach(async () => {
    client.close();
    await controlPlane.stop();
  });

  it("without names gives all clusters, and all of them again when one is added", async () => {
    client.ask(Cluster, []);
    const first = await client.next();
    assert.deepEqual(namesOf(first), ["bg/a", "bg/b"]);
    client.ask(Cluster, [], first);
    await register("c");
    assert.deepEqual(namesOf(await client.next()), ["bg/a", "bg/b", "bg/c"]);
  });

  it("gives the named clusters; what does not exist is missing, and comes when it appears", async () => {
    client.ask(Cluster, ["bg/a", "bg/c"]);
    const first = await client.next();
    assert.deepEqual(namesOf(first), ["bg/a"]);
    client.ask(Cluster, ["bg/a", "bg/c"], first);
    await probe();
    await register("c");
    assert.deepEqual(namesOf(await client.next()), ["bg/a", "bg/c"]);
  });

  it("gives of endpoints only those that changed", async () => {
    client.ask(Endpoints, ["bg/a", "bg/b"]);
    const first = await client.next();
    assert.deepEqual(namesOf(first), ["bg/a", "bg/b"]);
    client.ask(Endpoints, ["bg/a", "bg/b"], first);
    await probe();
    await controlPlane.registerBroker({ brokerName: "b", draining: true });
    const second = await client.next();
    assert.deepEqual(namesOf(second), ["bg/b"]);
    assert.notEqual(second.versionInfo, first.versionInfo);
  });

  it("sends a name that joins the list even if it was sent before", async () => {
    client.ask(Endpoints, ["bg/a"]);
    const first = await client.next();
    client.ask(Endpoints, ["bg/b"], first);
    const second = await client.next();
    assert.deepEqual(namesOf(second), ["bg/b"]);
    client.ask(Endpoints, ["bg/a", "bg/b"], second);
    assert.deepEqual(namesOf(await client.next()), ["bg/a"]);
  });

  it("ignores a request whose nonce is not the newest of its type", async () => {
    client.ask(Endpoints, ["bg/a"]);
    const first = await client.next();
    client.ask(Endpoints, ["bg/a", "bg/b"]);
    await probe();
    client.ask(Endpoints, ["bg/a", "bg/b"], first);
    assert.deepEqual(namesOf(await client.next()), ["bg/b"]);
  });

  it("does not answer an ACK, and does not repeat what was refused", async () => {
    client.ask(Cluster, ["bg/a"]);
    const first = await client.next();
    client.send({
      typeUrl: Cluster,
      resourceNames: ["bg/a"],
      responseNonce: first.nonce,
      errorDetail: { code: 14, message: "no such policy" },
    });
    await probe();
    const { items } = await controlPlane.json<{ items: { rejected: number }[] }>("/v1/sidecars");
    assert.equal(items[0]?.rejected, 1);
  });

  it("pushes nothing for names that left the list", async () => {
    client.ask(Endpoints, ["bg/a", "bg/b"]);
    const first = await client.next();
    client.ask(Endpoints, ["bg/a"], first);
    await probe();
    await controlPlane.registerBroker({ brokerName: "b", draining: true });
    await controlPlane.registerBroker({ brokerName: "a", draining: true });
    await clock.advanceAndSettle(1_000);
    assert.deepEqual(namesOf(await client.next()), ["bg/a"]);
  });

  it("gives our own types too, with a version that is of the content", async () => {
    await controlPlane.apply(topicManifest("orders"));
    client.ask(TopicRoute, ["default/orders"]);
    const first = await client.next();
    assert.deepEqual(
      first.resources.map(({ type_url }) => type_url),
      [TopicRoute],
    );
    await controlPlane.restart();
    const other = new FakeSotwClient(controlPlane.xdsPort);
    other.ask(TopicRoute, ["default/orders"]);
    assert.equal((await other.next()).versionInfo, first.versionInfo);
    other.close();
  });

  it("tells of a cluster that went by giving the others", async () => {
    client.ask(Cluster, ["bg/a", "bg/b"]);
    const first = await client.next();
    client.ask(Cluster, ["bg/a", "bg/b"], first);
    await probe();
    await controlPlane.deregisterBroker({ brokerName: "b", runId: 1 });
    assert.equal((await controlPlane.http("DELETE", "/v1/brokers/b")).status, 200);
    assert.deepEqual(namesOf(await client.next()), ["bg/a"]);
  });

  it("gives everything for * of any type, and pushes nothing but what is named when * is taken back", async () => {
    client.ask(Endpoints, ["*"]);
    const first = await client.next();
    assert.deepEqual(namesOf(first), ["bg/a", "bg/b"]);
    client.ask(Endpoints, ["bg/a"], first);
    const named = await client.next();
    assert.deepEqual(namesOf(named), ["bg/a"]);
    client.ask(Endpoints, ["bg/a"], named);
    await probe();
    await controlPlane.registerBroker({ brokerName: "b", draining: true });
    await controlPlane.registerBroker({ brokerName: "a", draining: true });
    await clock.advanceAndSettle(1_000);
    assert.deepEqual(namesOf(await client.next()), ["bg/a"]);
    const { items } = await controlPlane.json<{ items: { held: { type: string; name: string }[] }[] }>("/v1/sidecars");
    assert.deepEqual(
      items[0]?.held.flatMap(({ type, name }) => (type === "ClusterLoadAssignment" ? [name] : [])),
      ["bg/a"],
    );
  });

  it("says nothing after the last name left the list", async () => {
    client.ask(Endpoints, ["bg/a"]);
    const first = await client.next();
    client.ask(Endpoints, [], first);
    await probe();
    await controlPlane.registerBroker({ brokerName: "a", draining: true });
    await clock.advanceAndSettle(1_000);
    await probe();
  });

  it("sends what was refused again when its content changes, and no sooner", async () => {
    client.ask(Cluster, ["bg/a", "bg/c"]);
    const first = await client.next();
    const { nonce } = first;
    client.send({ typeUrl: Cluster, resourceNames: ["bg/a", "bg/c"], responseNonce: nonce, errorDetail: { code: 14 } });
    await probe();
    await register("c");
    assert.deepEqual(namesOf(await client.next()), ["bg/a", "bg/c"]);
  });

  it("keeps types apart: an unanswered response of one does not hold back another, nor does its nonce count there", async () => {
    client.ask(Cluster, ["bg/a"]);
    const clusters = await client.next();
    client.ask(Endpoints, ["bg/a"]);
    const endpoints = await client.next();
    assert.deepEqual(namesOf(endpoints), ["bg/a"]);
    client.ask(Endpoints, ["bg/a", "bg/b"], { ...endpoints, nonce: `${clusters.nonce}0` } as Response);
    await probe();
    client.ask(Endpoints, ["bg/a", "bg/b"], endpoints);
    assert.deepEqual(namesOf(await client.next()), ["bg/b"]);
  });

  it("starts anew on a new stream: what is asked for is sent, whatever version and nonce of an older stream it reports", async () => {
    client.ask(Cluster, ["bg/a"]);
    const { versionInfo } = await client.next();
    const next = new FakeSotwClient(controlPlane.xdsPort);
    next.send({ typeUrl: Cluster, resourceNames: ["bg/a"], versionInfo });
    assert.deepEqual(namesOf(await next.next()), ["bg/a"]);
    next.close();
  });

  it("takes a cluster away when the listener of its name is known to be gone, not before", async () => {
    client.ask(Cluster, ["bg/a", "bg/b"]);
    client.ask(Cluster, ["bg/a", "bg/b"], await client.next());
    client.ask(Listener, ["a", "b"]);
    const listeners = await client.next();
    assert.equal(listeners.resources.length, 2);
    client.ask(Listener, ["a", "b"], listeners);
    client.ask(RouteConfiguration, ["bg/a", "bg/b"]);
    client.ask(RouteConfiguration, ["bg/a", "bg/b"], await client.next());
    await controlPlane.deregisterBroker({ brokerName: "b", runId: 1 });
    assert.equal((await controlPlane.http("DELETE", "/v1/brokers/b")).status, 200);
    const gone = await client.next();
    assert.deepEqual([gone.typeUrl, gone.resources.length], [Listener, 1]);
    assert.equal(client.untakenCount, 0);
    client.ask(Listener, ["a", "b"], gone);
    assert.deepEqual(namesOf(await client.next()), ["bg/a"]);
  });

  it("refuses a request without type, and more names than a stream may hold", async () => {
    client.ask("", ["bg/a"]);
    assert.equal((await client.end()).code, GrpcStatus.INVALID_ARGUMENT);
    const greedy = new FakeSotwClient(controlPlane.xdsPort);
    greedy.ask(
      Endpoints,
      Array.from({ length: 10_001 }, (_, i) => `bg/${i}`),
    );
    assert.equal((await greedy.end()).code, GrpcStatus.RESOURCE_EXHAUSTED);
    greedy.close();
  });

  it("refuses a first request without node", async () => {
    const nameless = new FakeSotwClient(controlPlane.xdsPort, null);
    nameless.ask(Cluster, []);
    assert.equal((await nameless.end()).code, GrpcStatus.INVALID_ARGUMENT);
    nameless.close();
  });
});
