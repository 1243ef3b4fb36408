import assert from "node:assert/strict";
import { status as GrpcStatus } from "@grpc/grpc-js";
import { ResourceEntry, ResourceTable } from "../../../../control-plane/snapshot/resource-table.ts";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { AdsServer } from "../../../../control-plane/xds/ads-server.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { contentOf } from "../../../support/fake-sidecar.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { MemoryAdsClient } from "../../../support/memory-ads-client.ts";

const { Cluster, Endpoints, TopicRoute } = ResourceType;

/** What of docs/xds-conformance.md does not need a whole control plane: the discovery server on a table of the test. */
describe("the discovery server", () => {
  let clock: ManualClock;
  let table: ResourceTable;
  let server: AdsServer;

  const serverOf = (served: ResourceTable) =>
    new AdsServer(served, "test", {
      clock,
      randomness: new SeededRandomness(1),
      log: silentLog,
      metrics: new MetricRegistry(),
    });
  const put = (typeUrl: string, name: string, content: string, clusters: string[] = []) =>
    table.put(new ResourceEntry(typeUrl, name, Buffer.from(content), clusters));
  const passDebounce = () => clock.advanceAndSettle(1_000);

  beforeEach(() => {
    clock = new ManualClock();
    table = new ResourceTable();
    server = serverOf(table);
  });
  afterEach(() => server.close());

  it("answers a name that one message drops and the next one takes", () => {
    put(TopicRoute, "default/t", "1");
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, "default/t");
    const first = client.take();
    client.send({ typeUrl: TopicRoute, resourceNamesUnsubscribe: ["default/t"] });
    assert.equal(client.responses.length, 0);
    client.subscribe(TopicRoute, "default/t");
    assert.deepEqual(contentOf(client.take()), contentOf(first));
  });

  it("makes a client that reads slowly wait for one response, the newest, however much changed meanwhile", async () => {
    for (let i = 0; i < 10; i++) put(TopicRoute, `default/t${i}`, "0");
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, ...Array.from({ length: 10 }, (_, i) => `default/t${i}`));
    const unanswered = client.next();
    for (let change = 1; change <= 1_000; change++) put(TopicRoute, `default/t${change % 10}`, String(change));
    await passDebounce();
    assert.equal(client.responses.length, 0);
    client.ack(unanswered);
    const { resources } = client.take();
    assert.equal(client.responses.length, 0, "more than one response had gathered");
    assert.deepEqual(
      resources.map(({ resource }) => Number(Buffer.from(resource?.value ?? []).toString())).sort((a, b) => a - b),
      Array.from({ length: 10 }, (_, i) => 991 + i),
    );
  });

  it("sends nothing to a client that acknowledges what it does not read, and ends its stream after 30 s", async () => {
    put(TopicRoute, "default/t", "x".repeat(1_000));
    const client = new MemoryAdsClient(server);
    client.isReading = false;
    // Nonces can be guessed; an acknowledgement proves nothing about the socket.
    for (let i = 0; i < 1_000; i++) {
      client.send({ typeUrl: TopicRoute, responseNonce: String(i), resourceNamesSubscribe: ["default/t"] });
    }
    assert.equal(client.responses.length, 1);
    await clock.advanceAndSettle(29_000);
    assert.deepEqual(client.ends, []);
    await clock.advanceAndSettle(10_000);
    assert.deepEqual(
      client.ends.map(({ code }) => code),
      [GrpcStatus.DEADLINE_EXCEEDED],
    );
  });

  it("goes on with a client that reads again, with the newest content", () => {
    put(TopicRoute, "default/t", "old");
    const client = new MemoryAdsClient(server);
    client.isReading = false;
    client.subscribe(TopicRoute, "default/t");
    client.take();
    put(TopicRoute, "default/t", "new");
    client.subscribe(TopicRoute, "default/t");
    assert.equal(client.responses.length, 0);
    client.readAgain();
    assert.equal(Buffer.from(client.take().resources[0]?.resource?.value ?? []).toString(), "new");
  });

  it("takes a cluster away when the topics that left it are acknowledged, not before", async () => {
    for (const name of ["bg/a", "bg/b"]) {
      put(Cluster, name, name);
      put(Endpoints, name, name);
    }
    put(TopicRoute, "default/t", "on a", ["bg/a"]);
    const client = new MemoryAdsClient(server);
    client.subscribe(Cluster, "bg/a", "bg/b");
    client.take();
    client.subscribe(Endpoints, "bg/a", "bg/b");
    client.take();
    client.subscribe(TopicRoute, "default/t");
    client.take();
    put(TopicRoute, "default/t", "on b", ["bg/b"]);
    table.delete(Cluster, "bg/a");
    table.delete(Endpoints, "bg/a");
    await passDebounce();
    const moved = client.next();
    assert.deepEqual(contentOf(moved), { type: "TopicRoute", resources: ["default/t"], removed: [] });
    assert.equal(client.responses.length, 0, "the cluster went before the topic had left it");
    client.ack(moved);
    assert.deepEqual(contentOf(client.take()), { type: "Cluster", resources: [], removed: ["bg/a"] });
    assert.deepEqual(contentOf(client.take()), { type: "ClusterLoadAssignment", resources: [], removed: ["bg/a"] });
  });

  it("sends a client that comes from another replica nothing that is the same there", () => {
    const other = new ResourceTable();
    for (const replica of [table, other]) {
      // Another order, other things around it: versions are of the content alone.
      if (replica === other) replica.put(new ResourceEntry(TopicRoute, "default/more", Buffer.from("more")));
      replica.put(new ResourceEntry(TopicRoute, "default/t", Buffer.from("t")));
      replica.put(new ResourceEntry(Cluster, "bg/a", Buffer.from("a")));
    }
    const held = (typeUrl: string, name: string) => {
      const client = new MemoryAdsClient(server);
      client.subscribe(typeUrl, name);
      return { [name]: client.take().resources[0]?.version ?? "" };
    };
    const replica = serverOf(other);
    const client = new MemoryAdsClient(replica);
    for (const [typeUrl, name] of [
      [Cluster, "bg/a"],
      [TopicRoute, "default/t"],
    ] as const) {
      const initialResourceVersions = held(typeUrl, name);
      client.send({ typeUrl, resourceNamesSubscribe: [name], initialResourceVersions });
    }
    assert.equal(client.responses.length, 0);
    replica.close();
  });

  it("gives no resource a time to live, and none without a body, also to a client that could take them", async () => {
    put(TopicRoute, "default/t", "1");
    const node = { id: "able", clientFeatures: ["xds.config.supports-resource-ttl"] };
    const client = new MemoryAdsClient(server, node);
    client.subscribe(TopicRoute, "default/t");
    const responses = [client.take()];
    await clock.advanceAndSettle(10 * 60_000);
    put(TopicRoute, "default/t", "2");
    await passDebounce();
    responses.push(client.take());
    assert.equal(client.responses.length, 0, "a heartbeat was sent");
    for (const { resources } of responses) {
      assert.deepEqual(
        resources.map(({ ttl, resource }) => [ttl, resource === null]),
        [[null, false]],
      );
    }
  });

  it("takes any text as a name: what is part of other languages, paths and objects is a name like others", async () => {
    const odd = [
      "__proto__",
      "constructor",
      "",
      "default/%DLQ%g",
      "default/größe",
      "default/漢字",
      "a b",
      "../x",
      "*x",
    ];
    for (const name of odd.slice(0, 5)) put(TopicRoute, name, "1");
    const client = new MemoryAdsClient(server);
    client.send({ typeUrl: TopicRoute, resourceNamesSubscribe: odd, initialResourceVersions: { constructor: "v" } });
    assert.deepEqual(contentOf(client.take()), {
      type: "TopicRoute",
      resources: odd.slice(0, 5).sort(),
      removed: odd.slice(5).sort(),
    });
    for (const name of odd) put(TopicRoute, name, "2");
    await passDebounce();
    assert.deepEqual(contentOf(client.take()).resources, [...odd].sort());
  });

  it("answers a name of a namespace that is not there as absent, at once: never with silence", () => {
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, "foreign/t");
    assert.deepEqual(contentOf(client.take()).removed, ["foreign/t"]);
  });

  it("tells the versions and the nonce in each response, and who it is", () => {
    put(TopicRoute, "default/t", "1");
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, "default/t");
    const response = client.take();
    assert.notEqual(response.nonce, "");
    assert.equal(response.controlPlane?.identifier, "test");
    assert.match(response.resources[0]?.version ?? "", /^[0-9a-f]{16}$/);
    assert.match(response.systemVersionInfo, /^\d+$/);
  });

  it("believes a NACK by its error alone, whatever its code and however little it says", async () => {
    put(TopicRoute, "default/t", "1");
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, "default/t");
    for (const [change, code] of [0, 13, 14].entries()) {
      const { nonce } = client.next();
      client.send({ typeUrl: TopicRoute, responseNonce: nonce, errorDetail: { code } });
      assert.equal(server.reports()[0]?.held[0]?.status, "ERROR");
      assert.equal(client.responses.length, 0, "what was refused is sent again");
      put(TopicRoute, "default/t", `better ${change}`);
      await passDebounce();
    }
    client.take();
    assert.equal(server.reports()[0]?.held[0]?.status, "SYNCED");
  });

  it("encodes a change that goes to many once, and never uses a nonce twice on a stream", async () => {
    put(TopicRoute, "default/t", "1");
    const clients = Array.from({ length: 5 }, () => new MemoryAdsClient(server));
    const nonces = clients.map(() => new Set<string>());
    const takeAll = () => {
      for (const [i, client] of clients.entries()) {
        const { nonce } = client.take();
        assert.ok(!nonces[i]?.has(nonce), `nonce ${nonce} came twice`);
        nonces[i]?.add(nonce);
      }
    };
    for (const client of clients) client.subscribe(TopicRoute, "default/t");
    takeAll();
    for (const client of clients) client.subscribe(TopicRoute, "default/t");
    takeAll();
    for (let change = 0; change < 3; change++) {
      put(TopicRoute, "default/t", `changed ${change}`);
      await passDebounce();
      assert.equal(new Set(clients.map(({ newest }) => newest)).size, 1, "each stream has its own copy");
      takeAll();
      // What was encoded for all is not said again under the same nonce.
      for (const client of clients) client.subscribe(TopicRoute, "default/t");
      takeAll();
    }
  });

  it("says nothing more to a stream that is gone, and forgets what it subscribed to", async () => {
    put(TopicRoute, "default/t", "1");
    const client = new MemoryAdsClient(server);
    client.subscribe(TopicRoute, "default/t");
    client.take();
    client.close();
    put(TopicRoute, "default/t", "2");
    await passDebounce();
    assert.equal(client.responses.length, 0);
    assert.deepEqual(server.reports(), []);
  });
});
