import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ClusterManager } from "../../../../sidecar/cluster/cluster-manager.ts";
import { LimitTable } from "../../../../sidecar/limit/limit-table.ts";
import { RouteTable } from "../../../../sidecar/route/route-table.ts";
import { LastKnownGood } from "../../../../sidecar/xds/last-known-good.ts";
import { MeshConfig } from "../../../../sidecar/xds/mesh-config.ts";
import { TypeUrl } from "../../../../sidecar/xds/resource-type.ts";
import { FakeUpstream } from "../../../support/fake-upstream.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
const { DeltaDiscoveryResponse } = envoy.service.discovery.v3;
const minuteMs = 60_000;

/** The stream to a control plane, without a network: what is written, and what it says. */
class FakeStream extends EventEmitter {
  readonly requests: Request[] = [];
  #nonce = 0;

  write(request: Request): void {
    this.requests.push(request);
  }

  cancel(): void {}

  say(typeUrl: string, resources: Record<string, Uint8Array>, removedResources: string[] = []): void {
    const response = {
      typeUrl,
      nonce: `n${++this.#nonce}`,
      removedResources,
      resources: Object.entries(resources).map(([name, value]) => ({
        name,
        version: `v${this.#nonce}`,
        resource: { type_url: typeUrl, value },
      })),
    };
    this.emit("data", DeltaDiscoveryResponse.decode(DeltaDiscoveryResponse.encode(response).finish()));
  }

  unsubscribed(typeUrl: string): string[] {
    return this.requests.flatMap((request) =>
      request.typeUrl === typeUrl ? (request.resourceNamesUnsubscribe ?? []) : [],
    );
  }
}

describe("configuration that is used no more, or changes too fast", () => {
  let directory: string;
  let clock: ManualClock;
  let stream: FakeStream;
  let routes: RouteTable;
  let config: MeshConfig;
  let applied = 0;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-idle-"));
    clock = new ManualClock();
    stream = new FakeStream();
    routes = new RouteTable();
    applied = 0;
    const randomness = new SeededRandomness(1);
    const deps = { clock, randomness, log: silentLog };
    const clusters = new ClusterManager({ ...deps, createUpstream: (brokerName) => new FakeUpstream(brokerName) });
    config = new MeshConfig(
      { makeBidiStreamRequest: () => stream } as unknown as Client,
      { node: { id: "s", cluster: "base", version: "0" }, defaultNamespace: "default", removalGraceMs: minuteMs },
      {
        ...{ routes, clusters, limits: new LimitTable() },
        lastKnownGood: new LastKnownGood(directory, clock, silentLog),
      },
      { ...deps, metrics: new MetricRegistry() },
    );
    config.onApplied = () => applied++;
    await config.start();
    stream.say(TypeUrl.NamespacePolicy, {
      default: popmesh.v1.NamespacePolicy.encode({ name: "default" }).finish(),
    });
    clock.advance(1_000);
  });
  afterEach(async () => {
    await config.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const route = (name: string, queueCount = 1) =>
    popmesh.v1.TopicRoute.encode({
      name,
      state: 1,
      segment: [{ cluster: "bg/a", queueCount, readable: true, writable: true }],
    }).finish();
  const cluster = envoy.config.cluster.v3.Cluster.encode({ name: "bg/a", type: 3 }).finish();
  const endpoints = envoy.config.endpoint.v3.ClusterLoadAssignment.encode({ clusterName: "bg/a" }).finish();

  function serve(...names: string[]): void {
    for (const name of names) config.wantTopic(name);
    stream.say(TypeUrl.TopicRoute, Object.fromEntries(names.map((name) => [name, route(name)])));
    stream.say(TypeUrl.Cluster, { "bg/a": cluster });
    stream.say(TypeUrl.ClusterLoadAssignment, { "bg/a": endpoints });
  }

  it("unsubscribes a topic that nobody used for a quarter of an hour, not one that is used or declared", () => {
    serve("default/idle", "default/used", "default/declared");
    config.pinned = () => ({ topics: ["default/declared"], groups: [] });
    for (let minute = 0; minute < 17; minute++) {
      assert.equal(routes.topic("default/used").kind, "present");
      clock.advance(minuteMs);
    }
    assert.deepEqual(stream.unsubscribed(TypeUrl.TopicRoute), ["default/idle"]);
    assert.equal(routes.topic("default/idle").kind, "unknown");
    assert.equal(routes.topic("default/declared").kind, "present");
  });

  it("keeps a broker for as long as a receipt of it may come back", () => {
    serve("default/idle");
    for (let minute = 0; minute < 11 * 60; minute++) clock.advance(minuteMs);
    assert.deepEqual(stream.unsubscribed(TypeUrl.Cluster), []);
    for (let minute = 0; minute < 2 * 60; minute++) clock.advance(minuteMs);
    assert.deepEqual(stream.unsubscribed(TypeUrl.Cluster), ["bg/a"]);
  });

  it("forgets within minutes what does not exist and is not asked for, and never more than a thousand names", () => {
    for (let i = 0; i < 1_500; i++) config.wantTopic(`default/typo-${i}`);
    assert.equal(config.topics.entries.size, 1_000);
    clock.advance(2 * minuteMs);
    assert.equal(config.topics.entries.size, 0);
  });

  it("applies a configuration that flaps 50 times a second at most ten times a second, and ends with the latest", () => {
    serve("default/flapping");
    clock.advance(10_000);
    applied = 0;
    for (let i = 1; i <= 250; i++) {
      stream.say(TypeUrl.TopicRoute, { "default/flapping": route("default/flapping", i) });
      clock.advance(20);
    }
    clock.advance(200);
    assert.ok(applied <= 20 + 5 * 10 + 3, `${applied} in five seconds`);
    const latest = routes.topic("default/flapping");
    assert.equal(latest.kind === "present" ? latest.value.ref.queueCount : 0, 250);
  });

  it("does not wait for its turn while calls wait", () => {
    config.isAwaited = () => true;
    for (let i = 0; i < 60; i++) {
      serve(`default/t${i}`);
      assert.equal(routes.topic(`default/t${i}`).kind, "present");
    }
  });
});
