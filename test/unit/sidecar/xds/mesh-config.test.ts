import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { TypeUrl } from "../../../../sidecar/xds/resource-type.ts";
import { FakeControlPlane } from "../../../support/fake-control-plane.ts";
import { freePorts } from "../../../support/free-port.ts";
import { message, type RawV2Client } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { Stopwatch } from "../../../support/stopwatch.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const routeCode = async (client: RawV2Client, topic: string, deadlineMs = 5_000) =>
  (await client.call("QueryRoute", { topic: { name: topic } }, { deadlineMs })).status?.code;
const sendCode = async (client: RawV2Client, topic: string) =>
  (await client.call("SendMessage", { messages: [message(topic, "x")] })).status?.code;

interface DumpedResource {
  readonly name: string;
  readonly clientStatus: string;
  readonly stale: boolean;
  readonly version: string;
}
async function dumped(mesh: SidecarUnderTest, typeUrl: string): Promise<DumpedResource[]> {
  const dump = (await (await fetch(`${mesh.adminUrl}/config_dump`)).json()) as {
    configs: { typeUrl: string; resources: DumpedResource[] }[];
  };
  return dump.configs.find((config) => config.typeUrl === typeUrl)?.resources ?? [];
}

describe("configuration on demand", () => {
  let mesh: SidecarUnderTest;
  afterEach(() => mesh.stop());

  it("holds what was used and nothing else, asked for once however many wait", async () => {
    mesh = await SidecarUnderTest.start();
    for (let i = 0; i < 200; i++) mesh.plane.setTopic(`default/t${i}`, { brokers: ["broker-a"] });
    const clients = Array.from({ length: 20 }, () => mesh.client());
    const codes = await Promise.all(clients.flatMap((client) => [7, 8, 9].map((i) => routeCode(client, `t${i}`))));
    assert.deepEqual(new Set(codes), new Set([Code.Ok]));
    const topics = await dumped(mesh, TypeUrl.TopicRoute);
    assert.deepEqual(topics.map(({ name }) => name).sort(), ["default/t7", "default/t8", "default/t9"]);
    const asked = mesh.plane.requests.flatMap((request) =>
      request.typeUrl === TypeUrl.TopicRoute ? request.resourceNamesSubscribe : [],
    );
    assert.equal(asked.length, 3);
    const requests = mesh.plane.requests.filter(
      (request) => request.typeUrl === TypeUrl.TopicRoute && request.resourceNamesSubscribe.length > 0,
    );
    assert.ok(requests.length <= 3, "names asked for together leave together");
  });

  it("lets a call go on when all that its route refers to is here", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.silentTypes.add(TypeUrl.ClusterLoadAssignment);
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    const client = mesh.client();
    let isSettled = false;
    const asking = routeCode(client, "t").finally(() => {
      isSettled = true;
    });
    await waitUntil(
      "the route is here",
      async () => (await dumped(mesh, TypeUrl.TopicRoute))[0]?.clientStatus === "ACKED",
    );
    assert.equal(isSettled, false);
    mesh.plane.silentTypes.clear();
    mesh.plane.setBroker("broker-a");
    assert.equal(await asking, Code.Ok);
  });

  it("answers retryably within the client's time when the control plane does not answer", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.silentTypes.add(TypeUrl.TopicRoute);
    mesh.plane.setTopic("default/late", { brokers: ["broker-a"] });
    const client = mesh.client();
    // The client itself would end the call at its deadline, with no code of ours.
    assert.equal(await routeCode(client, "late", 3_000), Code.ProxyTimeout);
    assert.equal((await dumped(mesh, TypeUrl.TopicRoute))[0]?.clientStatus, "TIMEOUT");
    mesh.plane.silentTypes.clear();
    mesh.plane.setTopic("default/late", { brokers: ["broker-a"] });
    await waitUntil("the late answer", async () => (await routeCode(client, "late")) === Code.Ok);
  });

  it("believes 'does not exist' at once and for as long as it is true", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setNamespace("default", false, false);
    await waitUntil("the policy", async () => {
      const [policy] = await dumped(mesh, TypeUrl.NamespacePolicy);
      return policy?.version === mesh.plane.get(TypeUrl.NamespacePolicy, "default")?.version;
    });
    const client = mesh.client();
    assert.equal(await routeCode(client, "absent"), Code.TopicNotFound);
    const requests = mesh.plane.requests.length;
    for (let i = 0; i < 20; i++) assert.equal(await routeCode(client, "absent"), Code.TopicNotFound);
    assert.equal(mesh.plane.requests.length, requests, "no polling");
    mesh.plane.setTopic("default/absent", { brokers: ["broker-a"] });
    await waitUntil("it was created", async () => (await routeCode(client, "absent")) === Code.Ok);
  });

  it("asks once to create what many want at the same time, and passes a refusal on", async () => {
    mesh = await SidecarUnderTest.start();
    const client = mesh.client();
    const codes = await Promise.all(Array.from({ length: 30 }, () => sendCode(client, "burst")));
    assert.deepEqual(new Set(codes), new Set([Code.Ok]));
    assert.equal(mesh.plane.ensured.filter((name) => name === "default/burst").length, 1);
    mesh.plane.refusal = { code: Code.Forbidden, message: "the quota of this namespace is used up" };
    const refused = await client.call("QueryRoute", { topic: { name: "one-more" } });
    assert.equal(refused.status?.code, Code.Forbidden);
    assert.match(refused.status?.message ?? "", /quota/);
  });

  it("refuses what it cannot use, says why, and goes on with the last good version", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    mesh.plane.set(TypeUrl.TopicRoute, "default/t", Buffer.from([0x0a, 0x7f]));
    await waitUntil("the NACK", () => mesh.plane.requests.some(({ errorDetail }) => errorDetail !== null));
    const nack = mesh.plane.requests.find(({ errorDetail }) => errorDetail !== null);
    assert.match(nack?.errorDetail?.message ?? "", /"default\/t" cannot be decoded/);
    assert.equal(await sendCode(client, "t"), Code.Ok);
    assert.equal((await dumped(mesh, TypeUrl.TopicRoute))[0]?.clientStatus, "NACKED");
    mesh.plane.setTopic("default/t", { brokers: ["broker-b"] });
    await waitUntil("the next good version", async () => {
      await sendCode(client, "t");
      return mesh.upstream("broker-b").sends.length > 0;
    });
  });

  it("[S5] serves a removed topic that has traffic a while longer, then obeys", async () => {
    mesh = await SidecarUnderTest.start({ argv: ["--removal-grace", "700ms"] });
    mesh.plane.setNamespace("default", false, true);
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    const removedMs = performance.now();
    mesh.plane.remove(TypeUrl.TopicRoute, "default/t");
    await waitUntil("it is obeyed", async () => (await sendCode(client, "t")) !== Code.Ok);
    assert.ok(performance.now() - removedMs > 600);
    assert.equal(await sendCode(client, "t"), Code.TopicNotFound);
  });

  it("[S5] keeps a broker that answers although its endpoints vanish from the configuration", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    mesh.plane.setBroker("broker-a", []);
    await waitUntil("it arrived", async () => {
      const [endpoints] = await dumped(mesh, TypeUrl.ClusterLoadAssignment);
      return endpoints?.version === mesh.plane.get(TypeUrl.ClusterLoadAssignment, "bg/broker-a")?.version;
    });
    assert.equal(await sendCode(client, "t"), Code.Ok);
  });

  it("takes a broker out of sends when the control plane says that it drains", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a", "broker-b"] });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    mesh.plane.setBroker("broker-a", [{ port: 1, health: 3 }]);
    await waitUntil("sends avoid it", async () => {
      const before = mesh.upstream("broker-a").sends.length;
      for (let i = 0; i < 10; i++) await sendCode(client, "t");
      return mesh.upstream("broker-a").sends.length === before;
    });
  });

  it("goes on for any length of time without the control plane, and resumes where it stood", async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    const { port } = mesh.plane;
    mesh.plane.stop();
    await waitUntil("it is noticed", async () => (await dumpOfControlPlane(mesh)).isUp === false);
    for (let i = 0; i < 50; i++) assert.equal(await sendCode(client, "t"), Code.Ok);
    mesh.plane.requests.length = 0;
    await mesh.plane.start(port);
    await waitUntil("it is back", async () => (await dumpOfControlPlane(mesh)).isUp === true, 20_000);
    const first = mesh.plane.requests.find(({ typeUrl }) => typeUrl === TypeUrl.TopicRoute);
    assert.deepEqual(first?.resourceNamesSubscribe, ["default/t"]);
    assert.equal(first?.initialResourceVersions["default/t"], mesh.plane.get(TypeUrl.TopicRoute, "default/t")?.version);
    const withNode = mesh.plane.requests.filter(({ node }) => node !== null);
    assert.equal(withNode.length, 1, "the node is told once per stream");
    assert.deepEqual(withNode[0]?.node?.clientFeatures, ["popmesh.prefetch"]);
  });

  async function dumpOfControlPlane(of: SidecarUnderTest): Promise<{ isUp: boolean }> {
    return ((await (await fetch(`${of.adminUrl}/config_dump`)).json()) as { controlPlane: { isUp: boolean } })
      .controlPlane;
  }

  it("starts from the disk while the control plane is away: ready and serving within 2 s", async () => {
    const before = await SidecarUnderTest.start();
    before.plane.setTopic("default/t", { brokers: ["broker-a"] });
    before.plane.setGroup("default/g");
    assert.equal(await sendCode(before.client(), "t"), Code.Ok);
    await before.stop({ keepDirectory: true });
    const [dead] = await freePorts(1);
    const watch = new Stopwatch();
    mesh = await SidecarUnderTest.start({
      dataDirectory: before.dataDirectory,
      upstreams: before.upstreams,
      controlPlanePort: dead ?? 1,
    });
    const client = mesh.client();
    assert.equal(await sendCode(client, "t"), Code.Ok);
    await waitUntil("ready", async () => (await fetch(`${mesh.adminUrl}/ready`)).status === 200);
    assert.ok(watch.stop() < 2_000);
    assert.equal((await dumped(mesh, TypeUrl.TopicRoute))[0]?.stale, true);
    assert.equal(await routeCode(client, "never-seen", 3_000), Code.ProxyTimeout);
  });

  it("is not ready without control plane and without a configuration on disk, and becomes so by itself", async () => {
    const [port] = await freePorts(1);
    const plane = new FakeControlPlane();
    plane.setNamespace("default", true, true);
    plane.setBroker("broker-a");
    mesh = await SidecarUnderTest.start({ plane, controlPlanePort: port ?? 1 });
    try {
      assert.equal((await fetch(`${mesh.adminUrl}/ready`)).status, 503);
      await plane.start(port);
      await waitUntil("ready", async () => (await fetch(`${mesh.adminUrl}/ready`)).status === 200);
      assert.equal(await sendCode(mesh.client(), "t"), Code.Ok);
    } finally {
      plane.stop();
    }
  });

  it("takes up, after a start from disk, what has changed meanwhile", async () => {
    const before = await SidecarUnderTest.start();
    before.plane.setTopic("default/t", { brokers: ["broker-a"] });
    assert.equal(await sendCode(before.client(), "t"), Code.Ok);
    await before.stop({ keepDirectory: true });
    const plane = new FakeControlPlane();
    plane.setNamespace("default", true, true);
    plane.setBroker("broker-b");
    plane.setTopic("default/t", { brokers: ["broker-b"] });
    await plane.start();
    mesh = await SidecarUnderTest.start({ plane, dataDirectory: before.dataDirectory });
    try {
      const client = mesh.client();
      await waitUntil("the new route is in force", async () => {
        await sendCode(client, "t");
        return mesh.upstream("broker-b").sends.length > 0;
      });
    } finally {
      plane.stop();
    }
  });
});
