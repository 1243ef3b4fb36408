import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandOutput } from "../support/popmesh-command.ts";
import { MeshParts } from "../support/start-parts.ts";

const manifest = `apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: orders-canary }
spec:
  topic: orders
  rules:
    - { when: { properties: { user: "42" } }, to: canary }
    - { when: { tag: none }, to: canary }
`;

describe("popmesh apply --dry-run", function () {
  this.timeout(60_000);

  it("holds a rule against the messages that are there, and changes nothing", async () => {
    const parts = await MeshParts.start();
    try {
      const popmesh = (code: number, ...argv: string[]) => commandOutput(parts.api, argv, code);
      const client = parts.client(await parts.startSidecar(), "base");
      for (let n = 0; n < 20; n++) {
        const message = {
          topic: { name: "orders" },
          systemProperties: { messageId: `m${n}`, messageType: 1, keys: [`k${n % 5}`] },
          userProperties: { user: n % 5 === 0 ? "42" : "7" },
          body: Buffer.from("x"),
        };
        const { status } = await client.call("SendMessage", { messages: [message] });
        assert.equal(status?.code, 20_000, status?.message);
      }
      const path = join(parts.directory, "rule.yaml");
      writeFileSync(path, manifest);
      const told = await popmesh(0, "apply", "--dry-run", "--since", "10m", "-f", path);
      assert.match(told, /^LaneRule default\/orders-canary would be created\n {2}Held against all 20 messages/);
      assert.match(told, /20\.0 % would go to lane canary: 4 messages; most of k0 \(4\)/);
      assert.match(told, /warning: clause 2 \(to canary\) decided about none of the 20 messages looked at/);
      assert.match(told, /nobody consumes in lane canary now \(no sidecar of lane canary is connected\)/);
      const [item] = JSON.parse(await popmesh(0, "apply", "--dry-run", "-f", path, "-o", "json"));
      assert.equal(item.dryRun.lanes[1].messages, 4);
      assert.match(await popmesh(0, "get", "lanerules"), /no lanerules/);
      writeFileSync(path, manifest.replace("tag: none", "lane: A"));
      assert.match(await popmesh(1, "apply", "--dry-run", "-f", path), /rule\.yaml:8:\d+: spec\.rules\.1\.when\.lane/);
    } finally {
      await parts.stop();
    }
  });
});
