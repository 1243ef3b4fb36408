import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ControlPlaneProcess } from "../support/control-plane-process.ts";
import { commandOutput } from "../support/popmesh-command.ts";

describe("the commands for lane rules", function () {
  this.timeout(60_000);
  let controlPlane: ControlPlaneProcess;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-lane-rules-"));
    controlPlane = await ControlPlaneProcess.create();
    await controlPlane.start();
  });
  after(async () => {
    await controlPlane.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const popmesh = (expectedCode: number, ...argv: string[]) => commandOutput(controlPlane.server, argv, expectedCode);
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const rule = (percent: number) =>
    `apiVersion: popmesh.io/v1\nkind: LaneRule\nmetadata: { name: orders-canary }\nspec:\n  topic: orders\n` +
    `  rules:\n    - { when: { lane: canary }, to: canary }\n    - { percent: ${percent}, to: canary }\n`;

  it("apply a rule with a warning, then without when the topic is there", async () => {
    const path = file("rule.yaml", rule(5));
    const first = await popmesh(0, "apply", "-f", path);
    assert.match(first, /LaneRule default\/orders-canary created\n {2}warning: topic "orders" does not exist/);
    await popmesh(0, "topic", "create", "orders");
    assert.equal(await popmesh(0, "apply", "-f", path), "LaneRule default/orders-canary unchanged\n");
  });

  it("tell each mistake with file, line and column", async () => {
    const path = file("wrong.yaml", rule(0.001).replace("lane: canary }", "lane: a/b }"));
    const output = await popmesh(1, "apply", "-f", path);
    assert.ok(output.includes(`${path}:7:17: spec.rules.0.when.lane: "a/b" may hold`), output);
    assert.ok(output.includes(`${path}:8:9: spec.rules.1.percent: must be from 0 to 100`), output);
  });

  it("show what a file would change, and change nothing", async () => {
    const path = file("rule.yaml", rule(20));
    for (let i = 0; i < 2; i++) {
      const output = await popmesh(0, "diff", "-f", path);
      assert.match(output, /^LaneRule default\/orders-canary would be configured$/m);
      assert.match(output, /^ {2}- {5}- percent: 5$|^ {2}- {3}- percent: 5$/m);
      assert.match(output, /^ {2}\+ {3}- percent: 20$/m);
    }
    await popmesh(0, "apply", "-f", path);
    assert.match(await popmesh(0, "diff", "-f", path), /would stay as it is/);
  });

  it("list and describe rules", async () => {
    const [head = "", row = ""] = (await popmesh(0, "get", "lanerules")).split("\n");
    assert.deepEqual(head.split(/ {2,}/).slice(0, 4), ["NAME", "TOPIC", "GROUP", "LANES"]);
    assert.deepEqual(row.split(/ {2,}/), [
      ...["orders-canary", "orders", "(every group)", "canary", "2", "spill after 2s", "2", "0 of 0 brokers"],
    ]);
    const text = await popmesh(0, "describe", "lanerule", "orders-canary");
    for (const part of ["topic: orders", "percent: 20", "generation: 2", "changedBy: ", "brokers: []"]) {
      assert.ok(text.includes(part), text);
    }
    assert.match(await popmesh(1, "describe", "lanerule", "nothing"), /popmesh get lanerules/);
    assert.match(
      await popmesh(1, "describe", "queue", "nothing"),
      /choose topic, group, lanerule, ratelimit, rollout or namespace/,
    );
  });

  it("take back what they printed", async () => {
    for (const format of ["json", "yaml"]) {
      const path = file(`rules.${format}`, await popmesh(0, "get", "lanerules", "-o", format));
      assert.match(await popmesh(0, "apply", "-f", path), /orders-canary unchanged/);
    }
  });

  it("tell the history, and go back in it", async () => {
    assert.match(
      await popmesh(0, "rollback", "lanerule", "orders-canary", "--to", "1"),
      /rolled back; it is version 3 now/,
    );
    const lines = (await popmesh(0, "history", "lanerule", "orders-canary")).split("\n");
    assert.match(lines[0] ?? "", /^VERSION +AT +BY +WHAT$/);
    assert.deepEqual(
      lines.slice(1).map((line) => line.replace(/ +\d{4}-\S+Z +/, " ").trimEnd()),
      [
        "3 http:popmesh  rolled back to 1",
        "    -   - percent: 20",
        "    +   - percent: 5",
        "2 http:popmesh  configured",
        "    -   - percent: 5",
        "    +   - percent: 20",
        "1 http:popmesh  created",
        ...lines.slice(8).map((line) => line.trimEnd()),
      ],
    );
    assert.ok(
      lines.slice(8).some((line) => line === "    + topic: orders"),
      lines.join("\n"),
    );
    assert.match(await popmesh(0, "rollback", "lanerule", "orders-canary"), /it is version 4 now/);
    assert.match(await popmesh(1, "rollback", "lanerule", "orders-canary", "--to", "9"), /has no version 9/);
    assert.match(
      await popmesh(1, "history", "topic", "orders"),
      /no versions are kept of "topic"; choose lanerule, ratelimit, namespace or rollout; .* GET \/v1\/audit/,
    );
    assert.match(
      await popmesh(1, "rollback", "rollout", "ramp"),
      /a rollout has no versions to go back to: popmesh rollout abort ramp takes its lane back/,
    );
  });

  it("do the same for rate limits and namespaces", async () => {
    const limit = (rate: number) =>
      file(
        "limit.yaml",
        "apiVersion: popmesh.io/v1\nkind: RateLimit\nmetadata: { name: fair, namespace: shop }\n" +
          `spec: { direction: send, messagesPerSecond: ${rate} }\n---\n` +
          "apiVersion: popmesh.io/v1\nkind: Namespace\nmetadata: { name: shop }\n" +
          `spec: { quotas: { topics: ${rate} } }\n`,
      );
    for (const rate of [10, 20]) await popmesh(0, "apply", "-f", limit(rate));
    for (const [kind, name, line] of [
      ["ratelimit", "fair", "messagesPerSecond"],
      ["namespace", "shop", "  topics"],
    ] as const) {
      assert.match(
        await popmesh(0, "rollback", kind, name, "-n", "shop"),
        new RegExp(`^${kind} "${name}" rolled back; it is version \\d now$`, "m"),
      );
      const lines = (await popmesh(0, "history", kind, name, "-n", "shop")).split("\n");
      assert.match(lines[1] ?? "", /^\d +\S+ +http:popmesh +rolled back to \d$/);
      assert.deepEqual(lines.slice(2, 4), [`    - ${line}: 20`, `    + ${line}: 10`]);
      assert.match(await popmesh(0, "describe", kind, name, "-n", "shop"), new RegExp(`${line.trim()}: 10\n`));
    }
  });

  it("delete a rule, whose history stays", async () => {
    assert.match(await popmesh(0, "delete", "lanerule", "orders-canary"), /lanerule "orders-canary" deleted/);
    assert.match(await popmesh(0, "get", "lanerules"), /no lanerules/);
    assert.match(await popmesh(1, "delete", "lanerule", "orders-canary"), /does not exist/);
    assert.match(await popmesh(0, "history", "lanerule", "orders-canary"), /^5 +\S+ +http:popmesh +deleted$/m);
    assert.match(await popmesh(0, "delete", "topic", "orders"), /topic "orders" deleted/);
    assert.match(
      await popmesh(1, "delete", "broker", "a"),
      /choose topic, group, lanerule, ratelimit, rollout or namespace/,
    );
  });
});
