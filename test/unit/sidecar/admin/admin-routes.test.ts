import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { message } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("admin port of the sidecar", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    await waitUntil("ready", async () => (await get("/ready")).status === 200);
    await mesh.client().call("SendMessage", { messages: [message("orders", "x")] });
  });
  after(() => mesh.stop());

  const get = (path: string) => fetch(`${mesh.adminUrl}${path}`);
  const post = (path: string, headers: Record<string, string> = { "x-popmesh-client": "test" }) =>
    fetch(`${mesh.adminUrl}${path}`, { method: "POST", headers });

  it("says that it lives and that it is ready", async () => {
    assert.equal((await get("/healthz")).status, 200);
    assert.equal((await (await get("/ready")).text()).trim(), "LIVE");
  });

  it("counts in the Prometheus format", async () => {
    const answer = await get("/stats/prometheus");
    assert.match(answer.headers.get("content-type") ?? "", /version=0\.0\.4/);
    const text = await answer.text();
    assert.match(text, /popmesh_sidecar_calls_total\{code="OK",rpc="SendMessage"\} 1\n/);
    assert.match(text, /popmesh_sidecar_xds_connected 1\n/);
    assert.match(text, /popmesh_http2_connections 1\n/);
  });

  it("shows each resource with its state, and the settings", async () => {
    const dump = (await (await get("/config_dump")).json()) as {
      settings: { lane: string };
      configs: { typeUrl: string; resources: { name: string; clientStatus: string }[] }[];
    };
    assert.equal(dump.settings.lane, "base");
    const states = dump.configs.flatMap(({ resources }) =>
      resources.map(({ name, clientStatus }) => [name, clientStatus]),
    );
    assert.deepEqual(states, [
      ["bg/broker-a", "ACKED"],
      ["bg/broker-a", "ACKED"],
      ["default", "ACKED"],
      ["default/orders", "ACKED"],
    ]);
  });

  it("lists the brokers it knows", async () => {
    assert.match(await (await get("/clusters")).text(), /^bg\/broker-a::127\.0\.0\.1:1::health::healthy$/m);
    const json = (await (await get("/clusters?format=json")).json()) as { cluster: string }[];
    assert.equal(json[0]?.cluster, "bg/broker-a");
  });

  it("changes the log level, and says what the levels are", async () => {
    assert.equal((await post("/logging?level=debug")).status, 200);
    assert.match(await (await post("/logging")).text(), /level: debug/);
    assert.equal((await post("/logging?level=loud")).status, 400);
  });

  it("changes nothing by GET, nor for a request that a foreign page could make", async () => {
    assert.equal((await get("/drain")).status, 405);
    assert.equal((await post("/drain", {})).status, 403);
    const foreign = await new Promise<number>((resolve, reject) => {
      httpRequest(`${mesh.adminUrl}/ready`, { headers: { host: "evil.example" } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on("error", reject)
        .end();
    });
    assert.equal(foreign, 403);
  });
});
