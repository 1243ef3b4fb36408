import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runPopmesh } from "../support/popmesh-command.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const ruleOf = (name: string, topic: string, percent: number) => `apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: ${name} }
spec:
  topic: ${topic}
  rules: [{ percent: ${percent}, to: canary }]
`;
const topics = `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: orders }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: notes }
spec: { type: lite }
---
`;

describe("popmesh apply of a lane rule", function () {
  this.timeout(90_000);

  it("waits until it is in force, takes back what a broker refuses, and goes on after a killed control plane", async () => {
    const parts = await MeshParts.start();
    try {
      const apply = async (text: string, ...argv: string[]) => {
        const path = join(parts.directory, "rule.yaml");
        writeFileSync(path, text);
        return popmesh("apply", "-f", path, ...argv);
      };
      const popmesh = (...argv: string[]) => runPopmesh(parts.api, argv);
      const first = await apply(topics + ruleOf("canary", "orders", 5));
      assert.equal(first.code, 0, first.output);
      assert.match(first.output, /^LaneRule default\/canary: version 1 is in force at its broker$/m);

      // A broker has no lanes for lite topics, and says so; nothing of it stays.
      const refused = await apply(ruleOf("notes", "notes", 5));
      assert.equal(refused.code, 1, refused.output);
      assert.match(refused.output, /rolled back because broker "\S+" refused version 1: .*holds lite topics/);
      assert.match(
        (await popmesh("history", "lanerule", "notes")).output,
        /^ {4}because broker "\S+" refused version 1/m,
      );

      // The broker is silent, then the control plane dies: the version that was on its way arrives all the same.
      process.kill(parts.brokerPid, "SIGSTOP");
      const late = await apply(ruleOf("canary", "orders", 20), "--timeout", "1s");
      assert.equal(late.code, 1, late.output);
      assert.match(
        late.output,
        /version 2 is not in force everywhere after 1 s \(all brokers\): broker \S+ is pending/,
      );
      await parts.killControlPlane();
      process.kill(parts.brokerPid, "SIGCONT");
      await parts.startControlPlane();
      await waitUntil("version 2 is in force", async () => {
        const answer = await fetch(`${parts.api}/v1/namespaces/default/lanerules/canary`);
        const { status } = (await answer.json()) as { status: { generation: number; publication: { state: string } } };
        return status.generation === 2 && status.publication.state === "complete";
      });
      const back = await popmesh("rollback", "lanerule", "canary", "--to", "1");
      assert.equal(back.code, 0, back.output);
      assert.match(back.output, /^LaneRule default\/canary: version 3 is in force at its broker$/m);
    } finally {
      await parts.stop();
    }
  });
});
