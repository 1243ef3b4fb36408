import assert from "node:assert/strict";
import { Client, credentials } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { FakeSidecar } from "../../../support/fake-sidecar.ts";
import { TestControlPlane, topicManifest, unary } from "../../../support/start-control-plane.ts";

const { ClientStatusRequest, ClientStatusResponse, ConfigStatus } = envoy.service.status.v3;

describe("client status (CSDS)", () => {
  it("tells of each client what it was sent and how it answered", async () => {
    const controlPlane = await TestControlPlane.start();
    const sidecar = new FakeSidecar(controlPlane.xdsPort, { id: "seen" });
    const client = new Client(`127.0.0.1:${controlPlane.xdsPort}`, credentials.createInsecure());
    const path = "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus";
    const statuses = async () => {
      const request = ClientStatusRequest.encode({}).finish();
      const { config } = await unary(client, path, request, (bytes) => ClientStatusResponse.decode(bytes));
      assert.equal(config[0]?.node?.id, "seen");
      return config[0]?.genericXdsConfigs
        .map(({ name, configStatus }) => `${name} ${ConfigStatus[configStatus]}`)
        .sort();
    };
    try {
      await controlPlane.apply(topicManifest("a"), topicManifest("b"));
      sidecar.subscribe(ResourceType.TopicRoute, "default/a");
      await sidecar.take();
      sidecar.subscribe(ResourceType.TopicRoute, "default/b");
      const refused = await sidecar.next();
      sidecar.subscribe(ResourceType.GroupPolicy, "default/unanswered");
      await sidecar.next();
      sidecar.nack(refused, "no");
      sidecar.subscribe(ResourceType.GroupPolicy, "default/waits");
      sidecar.subscribe("type.googleapis.com/test.Last", "x");
      await sidecar.take();
      assert.deepEqual(await statuses(), [
        "default/a SYNCED",
        "default/b ERROR",
        "default/unanswered STALE",
        "default/waits NOT_SENT",
        "x SYNCED",
      ]);
    } finally {
      client.close();
      sidecar.close();
      await controlPlane.stop();
    }
  });
});
