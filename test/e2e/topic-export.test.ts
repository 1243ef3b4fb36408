import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { commandOutput, runPopmesh } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

describe("a topic as files", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  let directory: string;

  before(async () => {
    mesh = await startMesh();
    directory = mkdtempSync(join(tmpdir(), "popmesh-export-"));
  });
  after(async () => {
    await mesh?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const run = (...argv: string[]) => runPopmesh(`http://${mesh.api}`, argv);
  const popmesh = (...argv: string[]) => commandOutput(`http://${mesh.api}`, argv);
  const digest = (output: string) => /digest ([0-9a-f]{64})/.exec(output)?.[1];

  it("goes out and in again, and is the same: every byte, every queue, in order", async () => {
    await popmesh("topic", "create", "orders", "--type", "fifo", "--queues", "3");
    const producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["orders"], logger: quietLogger });
    await producer.startup();
    const ids: string[] = [];
    for (let i = 0; i < 60; i++) {
      const { messageId } = await producer.send({
        topic: "orders",
        messageGroup: `customer-${i % 7}`,
        tag: i % 2 === 0 ? "even" : "odd",
        keys: [`order-${i}`],
        properties: new Map([["amount", String(i)]]),
        // All byte values, and one body that is larger than a page of the import.
        body:
          i === 30 ? Buffer.alloc(3_000_000, 0xfe) : Buffer.from(Array.from({ length: 256 }, (_, b) => (b + i) & 0xff)),
      });
      ids.push(messageId);
    }
    await producer.shutdown();

    const first = join(directory, "first");
    const out = await popmesh("topic", "export", "orders", "--to", first);
    assert.match(out, /^60 messages of "orders" exported/);
    const lines = readFileSync(join(first, "messages.ndjson"), "utf8")
      .trimEnd()
      .split("\n")
      .map((l) => JSON.parse(l));
    assert.deepEqual(lines.map(({ messageId }) => messageId).sort(), [...ids].sort());
    const order31 = lines.find(({ keys }) => keys[0] === "order-31");
    assert.deepEqual(
      [order31.tag, order31.messageGroup, order31.properties.amount, order31.body.bytes],
      ["odd", "customer-3", "31", 256],
    );
    const bodies = readFileSync(join(first, "bodies.bin"));
    assert.equal(bodies[order31.body.at], 31);

    assert.match(await popmesh("topic", "import", first, "--topic", "copy"), /^60 messages imported into "copy"/);
    const second = join(directory, "second");
    const again = await popmesh("topic", "export", "copy", "--to", second);
    assert.equal(digest(again), digest(out));
    assert.ok(digest(out) !== undefined);
    assert.match(await popmesh("describe", "topic", "copy"), /type: fifo\n +queues: 3/);
  });

  it("takes along what waits for its time, and what came while it was exported once", async () => {
    await popmesh("topic", "create", "alarms", "--type", "delay", "--queues", "2");
    const producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["alarms"], logger: quietLogger });
    await producer.startup();
    const dueMs = Date.now() + 3_600_000;
    for (let i = 0; i < 12; i++) {
      // Not in the order of their times; one of them is over already.
      const deliveryTimestamp = new Date(i === 3 ? Date.now() - 1 : dueMs + ((i * 7) % 12));
      await producer.send({ topic: "alarms", tag: `t${i}`, body: Buffer.from(`alarm ${i}`), deliveryTimestamp });
    }
    await producer.shutdown();
    const first = join(directory, "alarms-1");
    const out = await popmesh("topic", "export", "alarms", "--to", first);
    assert.match(out, /^12 messages of "alarms", 11 of them waiting for their time, exported/);
    await popmesh("topic", "import", first, "--topic", "alarms-copy");
    const again = await popmesh("topic", "export", "alarms-copy", "--to", join(directory, "alarms-2"));
    assert.match(again, /^12 messages of "alarms-copy", 11 of them waiting/);
    assert.equal(digest(again), digest(out));
    const delayed = async (topic: string) =>
      new RegExp(`popmesh_broker_delayed_messages\\{topic="default/${topic}"\\} (\\d+)`).exec(
        await (await fetch(`http://${mesh.brokerAdmin}/stats/prometheus`)).text(),
      )?.[1];
    assert.deepEqual([await delayed("alarms"), await delayed("alarms-copy")], ["11", "11"]);
    await popmesh("topic", "create", "no-alarms", "--type", "normal", "--queues", "2");
    const refused = await run("topic", "import", first, "--topic", "no-alarms");
    assert.equal(refused.code, 1);
  });

  it("refuses a folder that is in use, an export that was changed, and a topic with too few queues", async () => {
    const first = join(directory, "first");
    assert.match((await run("topic", "export", "orders", "--to", first)).output, /is not empty; name a new folder/);
    assert.match((await run("topic", "export", "none", "--to", join(directory, "x"))).output, /does not exist/);
    await popmesh("topic", "create", "narrow", "--type", "fifo", "--queues", "1");
    assert.match((await run("topic", "import", first, "--topic", "narrow")).output, /narrow/);
    const body = readFileSync(join(first, "bodies.bin"));
    body[5]! ^= 1;
    writeFileSync(join(first, "bodies.bin"), body);
    const damaged = await run("topic", "import", first, "--topic", "other");
    assert.equal(damaged.code, 1);
    assert.match(damaged.output, /is damaged; nothing was imported/);
    assert.match((await run("topic", "import", directory)).output, /is no finished export/);
  });
});
