import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ClusterManager, outcomeOf } from "../../../../sidecar/cluster/cluster-manager.ts";
import type { EndpointHealth, EndpointSnapshot } from "../../../../sidecar/cluster/cluster-snapshot.ts";
import type { Endpoint } from "../../../../sidecar/cluster/endpoint.ts";
import type { LaneConsumer, Upstream } from "../../../../sidecar/upstream/upstream.ts";
import { ManualClock, settle } from "../../../support/manual-clock.ts";

/** An upstream that only shows how loaded and how well it is. */
class ShownUpstream implements Upstream {
  readonly brokerName: string;
  openRequestCount = 0;
  isReady = true;
  closedWith: number | undefined;
  endClose: () => void = () => {};

  constructor(brokerName: string) {
    this.brokerName = brokerName;
  }

  send(): void {}
  receive(): () => void {
    return () => {};
  }
  ack(): void {}
  deadLetter(): void {}
  pull(): void {}
  syncLite(): void {}
  offset(): void {}
  change(): void {}
  endTransaction(): void {}
  recall(): void {}
  readonly announced: [topic: string, isLive: boolean][] = [];
  announceProducer(topic: string, isLive: boolean): void {
    this.announced.push([topic, isLive]);
  }
  readonly consumers: (readonly LaneConsumer[])[] = [];
  announceConsumers(consumers: readonly LaneConsumer[]): void {
    this.consumers.push(consumers);
  }
  onOrphan: Upstream["onOrphan"];
  close(graceMs: number): Promise<void> {
    this.closedWith = graceMs;
    return new Promise((resolve) => {
      this.endClose = resolve;
    });
  }
}

describe("The cluster manager", () => {
  let clock: ManualClock;
  let clusters: ClusterManager;
  let made: { upstream: ShownUpstream; at: EndpointSnapshot }[];

  beforeEach(() => {
    clock = new ManualClock();
    made = [];
    clusters = new ClusterManager({
      ...{ clock, randomness: new SeededRandomness(11), log: silentLog },
      createUpstream: (brokerName, at) => {
        const upstream = new ShownUpstream(brokerName);
        made.push({ upstream, at });
        return upstream;
      },
    });
  });

  const at = (port: number, health: EndpointHealth = "healthy", priority = 0): EndpointSnapshot => ({
    ...{ host: "10.0.0.1", port, health, priority },
  });
  const shown = (endpoint: Endpoint): ShownUpstream => endpoint.upstream as ShownUpstream;
  const share = (names: readonly string[], rounds = 2_000): Map<number, number> => {
    const counts = new Map<number, number>();
    for (let i = 0; i < rounds; i++) {
      const { port } = clusters.pickForSend(names)!;
      counts.set(port, (counts.get(port) ?? 0) + 1);
    }
    return counts;
  };
  const fail = (endpoint: Endpoint, count = 5): void => {
    for (let i = 0; i < count; i++) clusters.reportSend(endpoint, "transport-failure");
  };

  it("keeps the connection of an endpoint that stays, and lets one that leaves finish", async () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1), at(2)] });
    const [first, second] = made.map(({ upstream }) => upstream);
    clusters.apply({ name: "bg/a", endpoints: [at(1, "draining"), at(3), at(3)] });
    assert.equal(made.length, 3, "the same address twice is one endpoint");
    assert.deepEqual([first?.closedWith, second?.closedWith], [undefined, 30_000]);
    assert.equal(clusters.clusters.get("bg/a")?.[0]?.health, "draining");
  });

  it("tells an endpoint that finishes, too, that consumers of its lane are gone", async () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1)] });
    clusters.announceConsumers([{ group: "default/g", topic: "default/t" }]);
    clusters.apply({ name: "bg/a", endpoints: [at(2)] });
    clusters.announceConsumers([]);
    for (const { upstream } of made) assert.deepEqual(upstream.consumers.at(-1), []);
    const [first] = made;
    first?.upstream.endClose();
    await settle();
    const told = first?.upstream.consumers.length;
    clusters.announceConsumers([]);
    assert.equal(first?.upstream.consumers.length, told, "it has finished");
  });

  it("spreads sends by least request over all writable clusters of a topic", () => {
    for (const name of ["bg/a", "bg/b", "bg/c"]) clusters.apply({ name, endpoints: [at(name.charCodeAt(3))] });
    const names = ["bg/a", "bg/b", "bg/c"];
    for (const count of share(names).values()) assert.ok(count > 500 && count < 850, `${count} of 2000`);
    shown(clusters.home("bg/b")!).openRequestCount = 50;
    assert.equal(share(names).get("b".charCodeAt(0)), undefined, "the loaded one loses every comparison");
  });

  it("prefers who has a connection, and falls back to who may get one", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1), at(2), at(3)] });
    for (const { upstream } of made.slice(0, 2)) upstream.isReady = false;
    assert.deepEqual([...share(["bg/a"]).keys()], [3]);
    made[2]!.upstream.isReady = false;
    assert.ok(clusters.pickForSend(["bg/a"]) !== undefined);
  });

  it("gives a second attempt to another, or to nobody", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1)] });
    clusters.apply({ name: "bg/b", endpoints: [at(2)] });
    const first = clusters.pickForSend(["bg/a", "bg/b"])!;
    for (let i = 0; i < 100; i++) assert.notEqual(clusters.pickForSend(["bg/a", "bg/b"], first), first);
    assert.equal(clusters.pickForSend(["bg/a"], clusters.home("bg/a")), undefined);
    assert.equal(clusters.pickForSend(["bg/unknown"]), undefined);
  });

  it("sends nothing new to a draining or unhealthy broker; receives and acks go on", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1, "draining")] });
    assert.equal(clusters.pickForSend(["bg/a"]), undefined);
    assert.equal(clusters.home("bg/a")?.port, 1);
    assert.equal(clusters.byBrokerName("a")?.port, 1);
    clusters.apply({ name: "bg/a", endpoints: [at(1, "draining"), at(2, "unhealthy"), at(3)] });
    assert.deepEqual([...share(["bg/a"]).keys()], [3]);
  });

  it("sends elsewhere while a broker is degraded, and to it where there is nobody else; receives and acks go on", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1, "degraded")] });
    clusters.apply({ name: "bg/b", endpoints: [at(2)] });
    assert.deepEqual([...share(["bg/a", "bg/b"]).keys()], [2]);
    assert.equal(clusters.home("bg/a")?.port, 1);
    assert.deepEqual([...share(["bg/a"]).keys()], [1], "it says why it takes nothing");
    clusters.apply({ name: "bg/b", endpoints: [at(2, "draining")] });
    assert.deepEqual([...share(["bg/a", "bg/b"]).keys()], [1]);
    clusters.apply({ name: "bg/a", endpoints: [at(1)] });
    assert.deepEqual([...share(["bg/a", "bg/b"]).keys()], [1]);
  });

  it("uses a lower priority only while no higher one has a healthy endpoint", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1, "healthy", 0), at(2, "healthy", 1)] });
    assert.deepEqual([...share(["bg/a"]).keys()], [1]);
    clusters.apply({ name: "bg/a", endpoints: [at(1, "unhealthy", 0), at(2, "healthy", 1)] });
    assert.deepEqual([...share(["bg/a"]).keys()], [2]);
  });

  it("ejects from sends after five transport failures, and takes back when the time is over", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1), at(2), at(3), at(4)] });
    const [bad] = clusters.clusters.get("bg/a")!;
    const held = clusters.picker(["bg/a"]);
    fail(bad!);
    assert.equal(share(["bg/a"]).has(1), false);
    assert.equal(held.candidates.length, 4, "a picker that is held does not change");
    assert.equal(clusters.home("bg/a")?.port, 1, "receives are not ejected");
    clock.advance(29_000);
    assert.equal(share(["bg/a"]).has(1), false);
    clock.advance(1_001);
    assert.equal(share(["bg/a"]).has(1), true);
  });

  it("never ejects more than half, nor the last one a topic has", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1), at(2)] });
    clusters.apply({ name: "bg/b", endpoints: [at(3), at(4)] });
    for (const endpoints of clusters.clusters.values()) for (const endpoint of endpoints) fail(endpoint);
    assert.deepEqual([...share(["bg/a", "bg/b"]).keys()].sort(), [3, 4]);
    assert.equal(share(["bg/a"]).size, 2, "for a topic with these two alone, the ejection is ignored");
  });

  it("does not hold a refusal against a broker", () => {
    assert.equal(outcomeOf({ ok: true }), "answered");
    const refused = { ok: false, code: Code.TopicNotFound, message: "", reach: "refused" } as const;
    assert.equal(outcomeOf(refused), "answered");
    assert.equal(outcomeOf({ ...refused, reach: "unknown" }), "transport-failure");
    assert.equal(outcomeOf({ ...refused, reach: "not-sent" }), "transport-failure");
  });

  it("holds receives back while a broker cannot be reached, with one probe", () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1)] });
    const home = clusters.home("bg/a")!;
    assert.equal(clusters.admitReceive(home).kind, "go");
    clusters.reportReceive(home, "transport-failure", false);
    const held = clusters.admitReceive(home);
    assert.ok(held.kind === "wait" && held.waitMs <= 100);
    clock.advance(100);
    assert.equal(clusters.admitReceive(home).kind, "probe");
    assert.equal(clusters.admitReceive(home).kind, "wait");
    clusters.reportReceive(home, "answered", true);
    assert.equal(clusters.admitReceive(home).kind, "go");
  });

  it("finds the broker of a receipt while it leaves, and no longer when it is gone", async () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1)] });
    clusters.remove("bg/a");
    assert.equal(clusters.home("bg/a"), undefined);
    assert.equal(clusters.byBrokerName("a")?.port, 1);
    made[0]!.upstream.endClose();
    await settle();
    assert.equal(clusters.byBrokerName("a"), undefined);
  });

  it("closes all connections, the leaving ones too, and takes no snapshot after", async () => {
    clusters.apply({ name: "bg/a", endpoints: [at(1), at(2)] });
    clusters.apply({ name: "bg/a", endpoints: [at(2)] });
    const closed = clusters.close(500);
    assert.deepEqual(
      made.map(({ upstream }) => upstream.closedWith),
      [500, 500],
    );
    for (const { upstream } of made) upstream.endClose();
    await closed;
    clusters.apply({ name: "bg/a", endpoints: [at(9)] });
    assert.equal(made.length, 2);
  });
});
