import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { FrameKind } from "../../../../../proto/frame/frame.ts";
import { silentLog } from "../../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../../proto/runtime/seeded-randomness.ts";
import { BrokerCoreUpstream } from "../../../../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import { consumersMax, presenceLeaseMs } from "../../../../../sidecar/upstream/broker-core/consumer-announcer.ts";
import { ManualClock, settle } from "../../../../support/manual-clock.ts";
import { ScriptedBroker } from "../../../../support/scripted-broker.ts";
import { waitUntil } from "../../../../support/wait-until.ts";

const consumer = (name: string) => ({ group: `default/${name}`, topic: "default/t" });

describe("the presence of consumers, as a broker is told", () => {
  let broker: ScriptedBroker;
  let clock: ManualClock;
  let upstream: BrokerCoreUpstream;

  beforeEach(async () => {
    broker = new ScriptedBroker();
    broker.welcome = { ...broker.welcome, features: ["something-else", "lane-presence"] };
    clock = new ManualClock();
    await broker.start();
  });
  afterEach(async () => {
    void upstream.close(0);
    clock.advance(1);
    await settle();
    await broker.stop();
  });

  async function open(): Promise<void> {
    upstream = new BrokerCoreUpstream({
      ...{ brokerName: "broker-a", host: "127.0.0.1", port: broker.port, clock, log: silentLog },
      hello: { sidecarId: "s", lane: "canary" },
      randomness: new SeededRandomness(7),
      limits: { sendsInFlightMax: 256, pendingMax: 1024, pendingBytesMax: 1 << 25 },
    });
    await waitUntil("the driver is welcomed", () => upstream.isReady, 5_000);
  }

  const said = () =>
    broker.of(FrameKind.LanePresence).map(({ correlation, body }) => {
      const { lane, leaseMs, consumer: all } = popmesh.v1.LanePresence.decode(body);
      assert.deepEqual([correlation, lane, leaseMs], [0, "canary", presenceLeaseMs]);
      return all.map(({ group }) => group.slice("default/".length)).join(" ");
    });
  const hears = async (...all: string[]) => {
    await waitUntil(`${all.length} frames`, () => said().length >= all.length, 5_000);
    assert.deepEqual(said(), all);
  };

  it("is one frame per turn with all of them, also with none", async () => {
    await open();
    upstream.announceConsumers([consumer("a")]);
    upstream.announceConsumers([consumer("a"), consumer("b")]);
    await hears("a b");
    upstream.announceConsumers([]);
    await hears("a b", "");
  });

  it("is said again well before the lease ends, and not when nobody is there", async () => {
    await open();
    upstream.announceConsumers([consumer("a")]);
    await hears("a");
    clock.advance(presenceLeaseMs / 3);
    await hears("a", "a");
    upstream.announceConsumers([]);
    await hears("a", "a", "");
    clock.advance(presenceLeaseMs);
    upstream.announceConsumers([consumer("b")]);
    await hears("a", "a", "", "b");
  });

  it("is said on every new connection", async () => {
    await open();
    upstream.announceConsumers([consumer("a")]);
    await hears("a");
    for (const socket of broker.sockets) socket.destroy();
    await waitUntil("the driver has noticed", () => !upstream.isReady, 5_000);
    upstream.announceConsumers([consumer("b")]);
    await waitUntil("it is connected again", () => {
      clock.advance(100);
      return upstream.isReady;
    });
    await waitUntil("it was said", () => said().includes("b"), 5_000);
    assert.ok(
      said().every((all) => all === "a" || all === "b"),
      said().join(),
    );
  });

  it("is not said to a broker that does not name the feature", async () => {
    broker.welcome = { ...broker.welcome, features: [] };
    await open();
    upstream.announceConsumers([consumer("a")]);
    clock.advance(presenceLeaseMs);
    // What is said later arrives later.
    upstream.announceProducer("default/t", true);
    await broker.heard(FrameKind.Producers, 1);
    assert.deepEqual(said(), []);
  });

  it("is bounded", async () => {
    await open();
    upstream.announceConsumers(Array.from({ length: consumersMax + 1 }, (_, i) => consumer(`g${i}`)));
    await broker.heard(FrameKind.LanePresence);
    assert.equal(said()[0]?.split(" ").length, consumersMax);
  });
});
