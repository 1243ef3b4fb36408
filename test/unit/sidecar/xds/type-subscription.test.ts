import assert from "node:assert/strict";
import { envoy } from "#codec/xds-v3";
import { TypeSubscription } from "../../../../sidecar/xds/type-subscription.ts";

const typeUrl = "type.googleapis.com/test.Thing";
const { DeltaDiscoveryResponse } = envoy.service.discovery.v3;

/** A type whose resources are texts; "bad" cannot be decoded. */
const make = (reportsVersions = true) =>
  new TypeSubscription<string>(
    typeUrl,
    (_name, bytes) => {
      const text = Buffer.from(bytes).toString();
      return text === "bad" ? { ok: false, reason: "is bad" } : { ok: true, value: text };
    },
    reportsVersions,
  );

interface Told {
  readonly resources?: Record<string, string>;
  readonly removed?: string[];
  readonly errors?: Record<string, number>;
  readonly version?: string;
}
function response({ resources = {}, removed = [], errors = {}, version = "v1" }: Told) {
  return DeltaDiscoveryResponse.decode(
    DeltaDiscoveryResponse.encode({
      typeUrl,
      nonce: "n1",
      resources: Object.entries(resources).map(([name, text]) => ({
        name,
        version,
        resource: { type_url: typeUrl, value: Buffer.from(text) },
      })),
      removedResources: removed,
      resourceErrors: Object.entries(errors).map(([name, code]) => ({
        resourceName: { name },
        errorDetail: { code, message: "no" },
      })),
    }).finish(),
  );
}

describe("type subscription", () => {
  it("[C3, C7] says nothing until something is wanted, then names everything once", () => {
    const things = make();
    assert.equal(things.nextRequest(), undefined);
    things.want("a", 0);
    things.want("b", 0);
    things.want("a", 0);
    assert.deepEqual(things.nextRequest(), {
      typeUrl,
      resourceNamesSubscribe: ["a", "b"],
      initialResourceVersions: {},
    });
    assert.equal(things.nextRequest(), undefined);
    things.want("c", 0);
    assert.deepEqual(things.nextRequest(), { typeUrl, resourceNamesSubscribe: ["c"] });
  });

  it("[C1] answers each response with its nonce, and takes subscription changes along", () => {
    const things = make();
    things.want("a", 0);
    things.nextRequest();
    things.want("b", 0);
    const { reply, changed, nackReason } = things.receive(response({ resources: { a: "1" } }), 5);
    assert.deepEqual(reply, { typeUrl, responseNonce: "n1", resourceNamesSubscribe: ["b"] });
    assert.equal(nackReason, undefined);
    assert.deepEqual(
      changed.map(({ name, state, value, version }) => [name, state, value, version]),
      [["a", "active", "1", "v1"]],
    );
    assert.equal(things.nextRequest(), undefined);
  });

  it("[C3] starts a new stream with all names and the versions held, absent names without", () => {
    const things = make();
    for (const name of ["a", "b", "gone"]) things.want(name, 0);
    things.nextRequest();
    things.receive(response({ resources: { a: "1" }, removed: ["gone"] }), 0);
    things.streamStarted();
    assert.deepEqual(things.nextRequest(), {
      typeUrl,
      resourceNamesSubscribe: ["a", "b", "gone"],
      initialResourceVersions: { a: "v1" },
    });
  });

  it("does not report versions where it was told not to, so that every name is answered", () => {
    const things = make(false);
    things.restore("a", "v1", Buffer.from("1"), 0);
    assert.deepEqual(things.nextRequest(), { typeUrl, resourceNamesSubscribe: ["a"] });
  });

  it("[D3, C5] takes a removal as an answer and keeps the interest: what is created later arrives", () => {
    const things = make();
    things.want("a", 0);
    things.nextRequest();
    const told = things.receive(response({ removed: ["a"] }), 1);
    assert.equal(told.changed[0]?.state, "absent");
    const created = things.receive(response({ resources: { a: "1" } }), 2);
    assert.equal(created.changed[0]?.state, "active");
  });

  it("leaves it to its owner when a value goes out of force", () => {
    const things = make();
    const entry = things.want("a", 0);
    things.receive(response({ resources: { a: "1" } }), 0);
    const { removed, changed } = things.receive(response({ removed: ["a"] }), 1);
    assert.deepEqual([removed.length, changed.length, entry.state, entry.value], [1, 0, "active", "1"]);
    things.obeyRemoval("a", 2);
    assert.deepEqual([entry.state, entry.value], ["absent", undefined]);
  });

  it("[C9] refuses a response as a whole, applies its sound resources, keeps the last good version of the others", () => {
    const things = make();
    for (const name of ["a", "b", "c"]) things.want(name, 0);
    things.receive(response({ resources: { b: "old" } }), 0);
    const { reply, changed, nackReason } = things.receive(
      response({ resources: { a: "1", b: "bad", c: "bad" }, version: "v2" }),
      1,
    );
    assert.equal(reply.responseNonce, "n1");
    assert.equal(reply.errorDetail?.code, 13);
    assert.match(nackReason ?? "", /"b" is bad; "c" is bad/);
    const entry = (name: string) => things.entries.get(name);
    assert.deepEqual([entry("a")?.value, entry("b")?.value, entry("c")?.value], ["1", "old", undefined]);
    assert.deepEqual([entry("b")?.state, entry("b")?.rejectedVersion, entry("c")?.state], ["active", "v2", "error"]);
    assert.deepEqual(
      changed.map(({ name }) => name),
      ["a", "c"],
    );
  });

  it("[D9, D10] refuses a name that comes twice, and a resource of another type", () => {
    const things = make();
    things.want("a", 0);
    assert.match(things.receive(response({ resources: { a: "1" }, removed: ["a"] }), 0).nackReason ?? "", /twice/);
    const foreign = response({ resources: { a: "2" } });
    foreign.resources[0]!.resource!.type_url = "type.googleapis.com/test.Other";
    assert.match(things.receive(foreign, 0).nackReason ?? "", /is a type\.googleapis\.com\/test\.Other/);
  });

  it("[C2, prefetch] takes up at once what came unasked shortly before it is wanted", () => {
    const things = make();
    assert.deepEqual(things.receive(response({ resources: { early: "1" } }), 1_000).changed, []);
    assert.equal(things.entries.size, 0);
    assert.equal(things.want("early", 2_000).value, "1");
    things.receive(response({ resources: { late: "1" } }), 3_000);
    assert.equal(things.want("late", 13_001).value, undefined);
  });

  it("[C4] asks again for what was dropped and wanted again", () => {
    const things = make();
    things.want("a", 0);
    things.nextRequest();
    things.drop("a");
    things.want("a", 1);
    assert.deepEqual(things.nextRequest(), { typeUrl, resourceNamesSubscribe: ["a"] });
    things.drop("a");
    assert.deepEqual(things.nextRequest(), { typeUrl, resourceNamesUnsubscribe: ["a"] });
  });

  it("tells NOT_FOUND, PERMISSION_DENIED and passing trouble apart in resource errors", () => {
    const things = make();
    for (const name of ["missing", "denied", "busy", "kept"]) things.want(name, 0);
    things.receive(response({ resources: { kept: "1" } }), 0);
    things.receive(response({ errors: { missing: 5, denied: 7, busy: 14, kept: 7 } }), 1);
    const states = Object.fromEntries([...things.entries.values()].map(({ name, state }) => [name, state]));
    assert.deepEqual(states, { missing: "absent", denied: "error", busy: "requested", kept: "active" });
  });

  it("confirms what was on disk when the control plane does not contradict it", () => {
    const things = make();
    assert.equal(things.restore("a", "v1", Buffer.from("1"), 0), true);
    assert.equal(things.restore("b", "v1", Buffer.from("bad"), 0), false);
    assert.equal(things.entries.get("a")?.state, "stale");
    assert.deepEqual(things.nextRequest()?.initialResourceVersions, { a: "v1" });
    assert.equal(things.confirmStale(), true);
    assert.equal(things.entries.get("a")?.state, "active");
  });
});
