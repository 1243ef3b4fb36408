import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Client } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { DeltaAdsClient } from "../../../../sidecar/xds/delta-ads-client.ts";
import { TypeSubscription } from "../../../../sidecar/xds/type-subscription.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { testSeed } from "../../../support/test-seed.ts";

const { DeltaDiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
type Response = envoy.service.discovery.v3.IDeltaDiscoveryResponse;
const things = "type.googleapis.com/test.Thing";
const others = "type.googleapis.com/test.Other";

class FakeStream extends EventEmitter {
  readonly requests: Request[] = [];
  cancel(): void {}
  write(request: Request): void {
    this.requests.push(structuredClone(request));
  }
  say(response: Response): void {
    this.emit("data", DeltaDiscoveryResponse.decode(DeltaDiscoveryResponse.encode(response).finish()));
  }
  end(code = 14): void {
    this.emit("status", { code, details: "gone" });
  }
}

describe("the sidecar's delta client", () => {
  let clock: ManualClock;
  let streams: FakeStream[];
  let subscriptions: TypeSubscription<string>[];
  let client: DeltaAdsClient;

  const make = (seed = testSeed) => {
    clock = new ManualClock();
    streams = [];
    const decode = (_name: string, bytes: Uint8Array) => ({ ok: true as const, value: Buffer.from(bytes).toString() });
    subscriptions = [new TypeSubscription<string>(things, decode), new TypeSubscription<string>(others, decode)];
    const open = () => {
      const stream = new FakeStream();
      streams.push(stream);
      return stream;
    };
    client = new DeltaAdsClient(
      { makeBidiStreamRequest: open } as unknown as Client,
      { id: "s", cluster: "base", version: "0" },
      subscriptions,
      { onReceived: () => {}, onUp: () => {}, onDown: () => {} },
      { clock, randomness: new SeededRandomness(seed), log: silentLog },
    );
  };
  const stream = () => streams.at(-1) as FakeStream;
  const resource = (name: string, typeUrl = things, text = "x") => ({
    name,
    version: "v1",
    resource: { type_url: typeUrl, value: Buffer.from(text) },
  });
  /** How long after the end of the stream the next one opens. */
  const pauseMs = () => {
    const count = streams.length;
    const endedMs = clock.monotonicMs();
    while (streams.length === count) clock.advance(clock.nextDueMs - clock.monotonicMs());
    return clock.monotonicMs() - endedMs;
  };

  beforeEach(() => make());
  afterEach(() => client.stop());

  it("tells its node in the first request of a stream and in no other, and again on the next stream", () => {
    for (const subscription of subscriptions) subscription.want("a", 0);
    client.start();
    stream().say({ typeUrl: things, nonce: "1", resources: [resource("a")] });
    assert.deepEqual(
      stream().requests.map(({ node }) => node?.id),
      ["s", undefined, undefined],
    );
    stream().end();
    pauseMs();
    assert.deepEqual(
      stream().requests.map(({ node }) => node?.id),
      ["s", undefined],
    );
  });

  it("refuses a type that it did not ask for, and a resource of another type than its response", () => {
    subscriptions[0]?.want("a", 0);
    client.start();
    stream().say({ typeUrl: "type.googleapis.com/test.Unknown", nonce: "7", resources: [] });
    const unknown = stream().requests.at(-1);
    assert.deepEqual([unknown?.typeUrl, unknown?.responseNonce], ["type.googleapis.com/test.Unknown", "7"]);
    assert.match(unknown?.errorDetail?.message ?? "", /did not ask for/);
    stream().say({ typeUrl: things, nonce: "8", resources: [resource("a", others)] });
    assert.match(stream().requests.at(-1)?.errorDetail?.message ?? "", /"a" is a type\.googleapis\.com\/test\.Other/);
    assert.equal(subscriptions[0]?.entries.get("a")?.state, "requested");
    assert.equal(client.nacks, 2);
  });

  it("acknowledges a response without resources, and a heartbeat without a body, and changes nothing for them", () => {
    subscriptions[0]?.want("a", 0);
    client.start();
    stream().say({ typeUrl: things, nonce: "1", resources: [resource("a")] });
    stream().say({ typeUrl: things, nonce: "2" });
    stream().say({ typeUrl: things, nonce: "3", resources: [{ name: "a", version: "v1", ttl: { seconds: 1 } }] });
    assert.deepEqual(
      stream().requests.slice(1),
      ["1", "2", "3"].map((responseNonce) => ({ typeUrl: things, responseNonce })),
    );
    clock.advance(60_000);
    assert.deepEqual(
      [subscriptions[0]?.entries.get("a")?.state, subscriptions[0]?.entries.get("a")?.value],
      ["active", "x"],
    );
  });

  it("reports on a new stream the versions it holds, and takes a stream that ends in good order for no loss", () => {
    subscriptions[0]?.want("a", 0);
    subscriptions[0]?.want("absent", 0);
    client.start();
    stream().say({ typeUrl: things, nonce: "1", resources: [resource("a")], removedResources: ["absent"] });
    stream().end(0);
    pauseMs();
    const [first] = stream().requests;
    assert.deepEqual(
      [first?.resourceNamesSubscribe, first?.initialResourceVersions, first?.responseNonce ?? ""],
      [["a", "absent"], { a: "v1" }, ""],
    );
    assert.equal(subscriptions[0]?.entries.get("a")?.value, "x");
  });

  it("does not listen to a stream that was replaced", () => {
    subscriptions[0]?.want("a", 0);
    client.start();
    const old = stream();
    old.end();
    pauseMs();
    old.say({ typeUrl: things, nonce: "1", resources: [resource("a", things, "of the old stream")] });
    old.end();
    assert.equal(subscriptions[0]?.entries.get("a")?.value, undefined);
    assert.equal(streams.length, 2);
  });

  it("waits longer after each stream without an answer, at most 30 s, and starts over after one that answered", () => {
    subscriptions[0]?.want("a", 0);
    client.start();
    for (let failures = 0; failures < 12; failures++) {
      stream().end();
      const waitedMs = pauseMs();
      assert.ok(
        waitedMs >= 100 && waitedMs <= Math.min(30_000, 500 * 2 ** failures) + 1,
        `${failures}: ${waitedMs} ms`,
      );
    }
    stream().say({ typeUrl: things, nonce: "1" });
    stream().end();
    assert.ok(pauseMs() <= 501);
  });

  it("comes back at its own time: 500 clients cut at once are spread over the pause, with no crowd at its start", () => {
    const perTenth = new Array<number>(10).fill(0);
    for (let i = 0; i < 500; i++) {
      make(testSeed + i);
      client.start();
      stream().say({ typeUrl: "type.googleapis.com/test.Unknown", nonce: "1" });
      stream().end();
      const tenth = Math.min(9, Math.floor((pauseMs() - 100) / 40));
      perTenth[tenth] = (perTenth[tenth] ?? 0) + 1;
    }
    // 50 in each are expected; a hundred in one has a chance below one in a thousand million.
    assert.ok(Math.max(...perTenth) < 100 && Math.min(...perTenth) > 10, perTenth.join(" "));
  });
});
