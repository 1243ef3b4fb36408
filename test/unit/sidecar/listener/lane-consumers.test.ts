import assert from "node:assert/strict";
import { ClientSession } from "../../../../sidecar/listener/client-session.ts";
import { LaneConsumers } from "../../../../sidecar/listener/lane-consumers.ts";
import { receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("the consumers in a sidecar's lane", () => {
  function consumersOf() {
    const consumers = new LaneConsumers();
    const told: string[] = [];
    consumers.onChange = (all) => told.push(all.map(({ group, topic }) => `${group}/${topic}`).join(" "));
    return { consumers, told };
  }

  function session(clientId: string): ClientSession {
    const made = new ClientSession(clientId, 0);
    made.isKept = true;
    return made;
  }

  it("are told whole, when the first client comes and when the last one is gone", () => {
    const { consumers, told } = consumersOf();
    const [a, b] = [session("a"), session("b")];
    consumers.noteReceived(a, "g", "t");
    consumers.noteReceived(a, "g", "t");
    consumers.noteReceived(b, "g", "t");
    consumers.noteReceived(b, "h", "t");
    assert.deepEqual(told, ["g/t", "g/t h/t"]);
    consumers.forget(a);
    assert.equal(told.length, 2);
    consumers.forget(b);
    consumers.forget(b);
    assert.deepEqual(told.slice(2), [""]);
  });

  it("come again with their next receive", () => {
    const { consumers, told } = consumersOf();
    const a = session("a");
    consumers.noteReceived(a, "g", "t");
    consumers.forget(a);
    consumers.noteReceived(a, "g", "t");
    assert.deepEqual(told, ["g/t", "", "g/t"]);
  });

  it("go with the connection of their last receive where they have no stream", () => {
    const { consumers, told } = consumersOf();
    const [a, b] = [session("a"), session("b")];
    for (const one of [a, b]) one.connectionId = 7;
    b.stream = { takesMore: true, sendCommand() {}, pushSettings() {}, end() {} };
    consumers.noteReceived(a, "g", "t");
    consumers.noteReceived(b, "h", "t");
    consumers.connectionClosed(6);
    assert.deepEqual(told, ["g/t", "g/t h/t"]);
    consumers.connectionClosed(7);
    assert.deepEqual(told.slice(2), ["h/t"]);
    consumers.noteReceived(a, "g", "t");
    assert.deepEqual(told.slice(3), ["h/t g/t"]);
  });

  it("are none of clients that are not remembered: nobody would say when they are gone", () => {
    const { consumers, told } = consumersOf();
    consumers.noteReceived(new ClientSession("a", 0), "g", "t");
    assert.deepEqual(told, []);
  });

  it("are gone for good when the sidecar drains", () => {
    const { consumers, told } = consumersOf();
    consumers.close();
    const a = session("a");
    consumers.noteReceived(a, "g", "t");
    assert.deepEqual(told, []);
    const other = consumersOf();
    other.consumers.noteReceived(a, "g", "t");
    other.consumers.close();
    other.consumers.noteReceived(session("b"), "g", "t");
    assert.deepEqual(other.told, ["g/t", ""]);
  });
});

describe("a sidecar of lane canary", () => {
  let mesh: SidecarUnderTest;
  beforeEach(async () => {
    mesh = await SidecarUnderTest.start({
      argv: ["--lane", "canary", "--drain-serve", "1s", "--drain-total", "2s"],
    });
    for (const topic of ["t", "u"]) mesh.plane.setTopic(`default/${topic}`, { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g");
  });
  afterEach(() => mesh.stop());

  const short = (topic: string) => receiveRequest(topic, "g", { longPollingTimeout: { seconds: 0, nanos: 1 } });
  const told = () => mesh.upstream().consumers.at(-1);

  it("receives in its lane, and tells of a consumer after its first answered receive, an empty one too (F18)", async () => {
    mesh.upstream().holdReceives = true;
    const waiting = mesh.client().receive(short("t"));
    await waitUntil("the receive is there", () => mesh.upstream().receives.length === 1);
    assert.equal(mesh.upstream().receives[0]?.lane, "canary");
    assert.equal(told(), undefined, "nothing was answered");
    mesh.upstream().holdReceives = false;
    mesh.upstream().releaseReceives();
    await waiting;
    assert.deepEqual(told(), ["default/g default/t"]);
  });

  it("tells nothing of a receive that was refused", async () => {
    mesh.upstream().receiveFailure = { ok: false, code: 40_000, message: "no", reach: "refused" };
    await mesh.client().receive(short("t"));
    assert.equal(told(), undefined);
  });

  it("tells that a client is gone when it says so, and when its stream ends", async () => {
    const [a, b] = [mesh.client(), mesh.client()];
    await a.receive(short("t"));
    const line = b.telemetry();
    line.send({ settings: { clientType: 3, subscription: { group: { name: "g" }, subscriptions: [] } } });
    await waitUntil("it was answered", () => line.commands.length > 0);
    await b.receive(short("u"));
    assert.deepEqual(told(), ["default/g default/t", "default/g default/u"]);
    await a.call("NotifyClientTermination", { group: { name: "g" } });
    assert.deepEqual(told(), ["default/g default/u"]);
    line.cancel();
    await waitUntil("nobody is there", () => told()?.length === 0);
  });

  it("tells that a client without a stream is gone when its connection is", async () => {
    const [a, b] = [mesh.client(), mesh.client()];
    const line = b.telemetry();
    line.send({ settings: { clientType: 3, subscription: { group: { name: "g" }, subscriptions: [] } } });
    await waitUntil("it was answered", () => line.commands.length > 0);
    await Promise.all([a.receive(short("t")), b.receive(short("u"))]);
    assert.equal(told()?.length, 2);
    a.close();
    await waitUntil("only the other one is there", () => told()?.join() === "default/g default/u");
  });

  it("has nobody any more as soon as it drains", async () => {
    const client = mesh.client();
    await client.receive(short("t"));
    assert.deepEqual(told(), ["default/g default/t"]);
    const stopping = mesh.sidecar.stop();
    assert.deepEqual(told(), []);
    client.close();
    await stopping;
  });

  it("of lane base tells nothing: base is never without consumers", async () => {
    const base = await SidecarUnderTest.start({ plane: mesh.plane, upstreams: mesh.upstreams });
    try {
      await base.client().receive(short("t"));
      assert.equal(told(), undefined);
    } finally {
      await base.stop();
    }
  });
});
