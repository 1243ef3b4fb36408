import assert from "node:assert/strict";
import { refuseGroupName } from "../../../../sidecar/filter/resource-name.ts";
import { BroadcastInstances, instanceName } from "../../../../sidecar/route/broadcast-instance.ts";
import { defaultGroupPolicy } from "../../../../sidecar/xds/group-policy-resource.ts";

describe("the instances of a broadcast group", () => {
  const shared = defaultGroupPolicy("default/news");
  const broadcast = { ...shared, instanceExpiryMs: 60_000 };

  it("are groups of their own, by client id; an ordinary group is itself for all", () => {
    const instances = new BroadcastInstances();
    assert.equal(instances.of(shared, "a"), shared);
    const a = instances.of(broadcast, "a");
    assert.equal(instances.of(broadcast, "a"), a, "made once");
    assert.notEqual(instances.of(broadcast, "b").ref.name, a.ref.name);
    assert.deepEqual(a.ref.broadcast, { group: "default/news", clientId: "a", expiryMs: 60_000 });
    assert.equal(a.ref.generation, shared.ref.generation);
  });

  it("have names that no user can choose, whatever their client ids are, and that brokers take", () => {
    const longest = `${"n".repeat(127)}/${"g".repeat(120)}`;
    const names = new Set<string>();
    for (const group of ["default/news", longest, `${"n".repeat(127)}/${"g".repeat(119)}h`]) {
      for (const clientId of ["a", "../../x", "%DLQ%news", "a/b", "\0", "__proto__", "ä".repeat(300), "@"]) {
        const name = instanceName(group, clientId);
        assert.match(name, /^[^/]+\/[a-zA-Z0-9_-]*@[a-zA-Z0-9_-]{22}$/);
        assert.notEqual(refuseGroupName(name.slice(name.indexOf("/") + 1)), undefined, "users cannot choose it");
        assert.ok(Buffer.byteLength(name) + "%DLQ%".length <= 255, name);
        names.add(name);
      }
    }
    assert.equal(names.size, 24, "no two are the same");
  });
});
