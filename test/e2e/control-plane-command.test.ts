import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { ControlPlaneProcess } from "../support/control-plane-process.ts";
import { freePorts } from "../support/free-port.ts";
import { commandOutput, runPopmesh } from "../support/popmesh-command.ts";

describe("the commands on a control plane", function () {
  this.timeout(60_000);
  let controlPlane: ControlPlaneProcess;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-command-"));
    controlPlane = await ControlPlaneProcess.create();
    await controlPlane.start();
  });
  after(async () => {
    await controlPlane.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const popmesh = (...argv: string[]) => runPopmesh(controlPlane.server, argv);
  const succeed = (...argv: string[]) => commandOutput(controlPlane.server, argv);
  const fail = async (...argv: string[]) => {
    const { code, output } = await popmesh(...argv);
    assert.equal(code, 1, `popmesh ${argv.join(" ")}: ${output}`);
    return output;
  };
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };

  it("create a topic, and say so when it exists already or contradicts", async () => {
    assert.match(
      await succeed("topic", "create", "orders", "--type", "fifo", "--queues", "4"),
      /topic "orders" created/,
    );
    assert.match(await succeed("topic", "create", "orders"), /exists already/);
    assert.match(await fail("topic", "create", "orders", "--type", "delay"), /is fifo and cannot become delay/);
    assert.match(await fail("topic", "create", "a b"), /has a character other than/);
    assert.match(await fail("topic", "create", "many", "--queues", "lots"), /spec\.queues/);
  });

  it("list topics for people, as JSON and as YAML", async () => {
    await succeed("topic", "create", "orders", "--type", "fifo", "--queues", "4");
    assert.deepEqual(
      (await succeed("get", "topics"))
        .trimEnd()
        .split("\n")
        .map((line) => line.split(/ {2,}/)),
      [
        ["NAME", "TYPE", "QUEUES", "STATE", "BROKERS"],
        ["orders", "fifo", "4", "active", "(none yet)"],
      ],
    );
    for (const [format, read] of [
      ["json", (text: string): unknown => JSON.parse(text)],
      ["yaml", (text: string): unknown => parse(text)],
    ] as const) {
      const items = read(await succeed("get", "topics", "-o", format)) as { metadata: object; spec: object }[];
      assert.deepEqual(
        items.map(({ metadata, spec }) => ({ metadata, spec })),
        [
          {
            metadata: { namespace: "default", name: "orders" },
            spec: { type: "fifo", queues: 4, state: "active" },
          },
        ],
        format,
      );
    }
    assert.match(await fail("get", "topics", "-o", "xml"), /choose table, json or yaml/);
    assert.match(await fail("get", "queues"), /choose one of topics/);
  });

  it("describe a topic, and say how to create one that is not there", async () => {
    await succeed("topic", "create", "orders", "--type", "fifo", "--queues", "4");
    const text = await succeed("describe", "topic", "orders");
    for (const part of ["type: fifo", "queues: 4", "incarnation: 1", "createdBy:"])
      assert.ok(text.includes(part), text);
    assert.match(await fail("describe", "topic", "nothing"), /popmesh topic create nothing/);
  });

  it("apply a file: created, then unchanged, then configured", async () => {
    const text = (queues: number) =>
      [
        `apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: bills }\nspec: { queues: ${queues} }\n`,
        "apiVersion: popmesh.io/v1\nkind: ConsumerGroup\nmetadata: { name: billing }\nspec: { attemptsMax: 5 }\n",
        "apiVersion: popmesh.io/v1\nkind: Namespace\nmetadata: { name: team-a }\nspec: { autoCreateTopics: true }\n",
      ].join("---\n");
    const path = file("mesh.yaml", text(4));
    assert.equal(
      await succeed("apply", "-f", path),
      "Topic default/bills created\nConsumerGroup default/billing created\nNamespace team-a created\n",
    );
    assert.match(await succeed("apply", "-f", path), /bills unchanged\n.*billing unchanged\n.*team-a unchanged/);
    file("mesh.yaml", text(6));
    assert.match(await succeed("apply", "-f", path), /bills configured\n.*billing unchanged/);
  });

  it("apply nothing of a file with mistakes, and tell each with file, line, column and field", async () => {
    const path = file(
      "wrong.yaml",
      "apiVersion: popmesh.io/v1\nkind: Topic\nmetadata:\n  name: fine\n---\n" +
        "apiVersion: popmesh.io/v1\nkind: Topic\nmetadata:\n  name: wrong\nspec:\n  tpye: fifo\n  queues: 0\n",
    );
    const output = await fail("apply", "-f", path);
    assert.ok(output.includes(`${path}:11:3: spec.tpye: is no field; did you mean "type"?`), output);
    assert.ok(output.includes(`${path}:12:3: spec.queues: `), output);
    assert.match(await fail("describe", "topic", "fine"), /does not exist/);
    assert.match(await fail("apply", "-f", join(directory, "missing.yaml")), /cannot be read/);
  });

  it("take back what they printed", async () => {
    for (const format of ["json", "yaml"]) {
      const path = file(`topics.${format}`, await succeed("get", "topics", "-o", format));
      assert.match(await succeed("apply", "-f", path), /bills unchanged\n.*orders unchanged/);
    }
  });

  it("create and list groups, namespaces, brokers and sidecars", async () => {
    assert.match(await succeed("group", "create", "shipping", "--attempts-max", "3"), /group "shipping" created/);
    assert.match(await succeed("get", "groups"), /billing +5 .*\nshipping +3 /);
    assert.match(await succeed("get", "namespaces"), /default +false +false .*\nteam-a +true +false /);
    assert.match(await succeed("get", "brokers"), /no brokers/);
    assert.match(await fail("forget-broker", "a"), /not known; popmesh get brokers/);
    assert.match(await succeed("get", "sidecars"), /no sidecars/);
  });

  it("work in a namespace of their own", async () => {
    await succeed("topic", "create", "orders", "-n", "team-a");
    assert.match(await succeed("get", "topics", "-n", "team-a"), /orders +normal/);
    await succeed("topic", "delete", "orders", "-n", "team-a");
    assert.match(await succeed("get", "topics", "-n", "team-a"), /no topics/);
    assert.match(await succeed("describe", "topic", "orders"), /type: fifo/);
  });

  it("delete, and say so when there is nothing to delete", async () => {
    assert.match(await succeed("topic", "delete", "orders"), /deleted/);
    assert.match(await fail("topic", "delete", "orders"), /does not exist/);
    assert.match(await succeed("group", "delete", "shipping"), /deleted/);
  });

  it("say how to start a control plane when there is none", async () => {
    const [port] = await freePorts(1);
    const output = await fail("get", "topics", "--server", `http://127.0.0.1:${port}`);
    assert.match(output, /no control plane at http:\/\/127\.0\.0\.1:\d+ .*popmesh up.*--server/s);
  });
});
