import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import { decodeCluster, decodeEndpoints } from "../../../../sidecar/xds/cluster-resource.ts";
import { decodeGroupPolicy } from "../../../../sidecar/xds/group-policy-resource.ts";
import { decodeTopicRoute } from "../../../../sidecar/xds/topic-route-resource.ts";

const segment = { cluster: "bg/broker-a", queueCount: 4, readable: true, writable: true };
const topic = (over: popmesh.v1.ITopicRoute) =>
  decodeTopicRoute(
    "default/t",
    popmesh.v1.TopicRoute.encode({ name: "default/t", state: 1, segment: [segment], ...over }).finish(),
  );

describe("resources of the control plane", () => {
  it("reads a topic route", () => {
    const decoded = topic({
      incarnation: 3,
      messageTypes: 6,
      segment: [segment, { ...segment, cluster: "bg/b", writable: false }],
    });
    assert.ok(decoded.ok);
    assert.deepEqual(decoded.value.ref, { name: "default/t", incarnation: 3, messageTypes: 6, queueCount: 4 });
    assert.deepEqual(
      decoded.value.segments.map(({ brokerName }) => brokerName),
      ["broker-a", "b"],
    );
    assert.deepEqual([decoded.value.writable.length, decoded.value.readable.length], [1, 2]);
  });

  it("takes no sends for a topic that is read-only or draining", () => {
    for (const state of [2, 3]) {
      const decoded = topic({ state });
      assert.ok(decoded.ok);
      assert.deepEqual([decoded.value.writable.length, decoded.value.readable.length], [0, 1]);
    }
  });

  it("takes a state it does not know for active: a newer control plane must not break a route", () => {
    const decoded = topic({ state: 99 as popmesh.v1.TopicState });
    assert.ok(decoded.ok);
    assert.equal(decoded.value.writable.length, 1);
  });

  for (const [what, over, reason] of [
    ["another name inside", { name: "default/other" }, /carries another name inside: "default\/other"/],
    ["an active topic without segments", { segment: [] }, /is active but has no segments/],
    ["a segment that is in no broker group", { segment: [{ ...segment, cluster: "x" }] }, /in "x", which is no broker/],
    ["a feature that is needed and unknown", { requiredFeatures: ["tiering"] }, /does not have: tiering/],
  ] as [string, popmesh.v1.ITopicRoute, RegExp][]) {
    it(`refuses ${what}`, () => {
      const decoded = topic(over);
      assert.equal(decoded.ok, false);
      assert.match(decoded.ok ? "" : decoded.reason, reason);
    });
  }

  it("refuses bytes that are no message", () => {
    const decoded = decodeTopicRoute("default/t", Buffer.from([0x0a, 0x7f]));
    assert.match(decoded.ok ? "" : decoded.reason, /^cannot be decoded/);
  });

  it("fills a group's policy up with the figures of the reference server", () => {
    const decoded = decodeGroupPolicy("n/g", popmesh.v1.ConsumerGroupPolicy.encode({ name: "n/g" }).finish());
    assert.ok(decoded.ok);
    assert.equal(decoded.value.ref.attemptsMax, 17);
    assert.equal(decoded.value.receiveBatchSize, 32);
    assert.equal(decoded.value.longPollingMs, 20_000);
    assert.equal(decoded.value.ref.backoff.kind, "exponential");
  });

  it("reads endpoints with their health and priority, and leaves out those it cannot reach", () => {
    const lbEndpoint = (portValue: number, healthStatus: number, address = "127.0.0.1") => ({
      endpoint: { address: { socketAddress: { address, portValue } } },
      healthStatus,
    });
    const bytes = envoy.config.endpoint.v3.ClusterLoadAssignment.encode({
      clusterName: "bg/a",
      endpoints: [
        { lbEndpoints: [lbEndpoint(1, 1), lbEndpoint(2, 3), lbEndpoint(0, 1), lbEndpoint(3, 1, "")] },
        { priority: 1, lbEndpoints: [lbEndpoint(4, 2), lbEndpoint(5, 0), lbEndpoint(6, 5)] },
      ],
    }).finish();
    const decoded = decodeEndpoints("bg/a", bytes);
    assert.ok(decoded.ok);
    assert.deepEqual(
      decoded.value.map(({ port, health, priority }) => [port, health, priority]),
      [
        [1, "healthy", 0],
        [2, "draining", 0],
        [4, "unhealthy", 1],
        [5, "healthy", 1],
        [6, "degraded", 1],
      ],
    );
  });

  it("refuses a cluster that is not discovered by EDS", () => {
    const encode = (over: envoy.config.cluster.v3.ICluster) =>
      envoy.config.cluster.v3.Cluster.encode({ name: "bg/a", ...over }).finish();
    assert.equal(decodeCluster("bg/a", encode({ type: 3 })).ok, true);
    assert.equal(decodeCluster("bg/a", encode({ type: 0 })).ok, false);
    assert.equal(decodeCluster("bg/a", encode({ type: 3, edsClusterConfig: { serviceName: "bg/b" } })).ok, false);
  });
});
