import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandOutput } from "../support/popmesh-command.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { groupRef, messageIdOf, topicRef, UpstreamClient } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

const topic = topicRef("t");
const group = groupRef("g");

describe("A broker process whose log is damaged while it is dead (B10)", function () {
  this.timeout(60_000);

  it("starts, serves the rest through its port, says what is lost, and starts again the same", async () => {
    const broker = await BrokerProcess.start();
    const upstream = connectUpstream(broker.port);
    const client = new UpstreamClient(upstream);
    const body = (i: number) => Buffer.alloc(3_000, i);
    const damagedReport = () => JSON.parse(readFileSync(join(broker.dataDirectory, "damage.json"), "utf8")) as Report;
    const metric = async (name: string) => {
      const text = await (await fetch(`http://127.0.0.1:${broker.adminPort}/stats/prometheus`)).text();
      return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
    };
    try {
      for (let i = 1; i <= 60; i++) await client.store(topic, `m-${i}`, { body: body(i) });
      const acked = (await client.take(topic, group, { batch: 20, invisibleMs: 300_000 })).map((delivery) => delivery);
      await client.ack(group, ...acked.map(({ receipt }) => receipt));
      // It proves that all before it was on disk: damage to the very last batch could be a torn end of the log.
      await client.store(topic, "last");
      const isAcked = new Set(acked.map(messageIdOf));
      const open = Array.from({ length: 60 }, (_, i) => i + 1).filter((i) => !isAcked.has(`m-${i}`));
      await broker.process.stop("SIGKILL");

      // Bytes of messages that are to come: one that is followed by another of its queue, and their neighbours' hand-outs.
      const lost = [open[3]!, open[17]!, open[18]!];
      rmSync(join(broker.dataDirectory, "checkpoint"), { recursive: true, force: true });
      const [name = ""] = readdirSync(join(broker.dataDirectory, "log")).filter((each) => each.endsWith(".log"));
      const file = join(broker.dataDirectory, "log", name);
      const bytes = readFileSync(file);
      for (const i of lost) bytes.fill(0xff, bytes.indexOf(body(i)) + 10, bytes.indexOf(body(i)) + 20);
      // And the record that says where the group began.
      const cursor = bytes.lastIndexOf(Buffer.from("default/g\tdefault/t"));
      assert.ok(cursor > 0, "the record that opened the group's position");
      bytes[cursor]! ^= 1;
      writeFileSync(file, bytes);
      const checked = await commandOutput("", ["broker", "check", "--data-dir", broker.dataDirectory], 1);
      assert.match(checked, /PROBLEM: default\/t, queue \d: 1 messages from offset \d+ on are lost/);
      assert.doesNotMatch(checked, /does not go with the records before it/);

      await broker.restart();
      await waitUntil("the driver is back", () => upstream.isReady);
      await broker.process.printed("messages are lost; their offsets stay taken");
      const found = new Set<string>();
      for (let batch = await client.take(topic, group); batch.length > 0; ) {
        for (const delivery of batch) {
          assert.ok(!found.has(messageIdOf(delivery)), "came twice");
          found.add(messageIdOf(delivery));
        }
        await client.ack(group, ...batch.map(({ receipt }) => receipt));
        batch = await client.take(topic, group, { waitMs: 200 });
      }
      const expected = ["last", ...open.filter((i) => !lost.includes(i)).map((i) => `m-${i}`)];
      assert.deepEqual([...found].sort(), expected.sort(), "what is left comes, and what was acknowledged does not");
      assert.equal(await metric("popmesh_broker_log_damaged_ranges"), 4);
      const named = (report: Report) =>
        report.consequences.flatMap(({ messages }) => messages).reduce((sum, { count }) => sum + count, 0);
      assert.equal(named(damagedReport()), await metric("popmesh_broker_lost_messages"));
      assert.ok(named(damagedReport()) >= 1, "what is lost is named");
      await client.store(topic, "afterwards");
      await broker.process.stop("SIGKILL");

      await broker.restart();
      await waitUntil("the driver is back", () => upstream.isReady);
      const [after, ...more] = await client.take(topic, group, { waitMs: 200 });
      assert.deepEqual([messageIdOf(after!), more.length], ["afterwards", 0]);
      assert.equal(damagedReport().ranges.length, 4, "listed once");
    } finally {
      await upstream.close(0);
      await broker.dispose();
    }
  });
});

interface Report {
  readonly ranges: readonly object[];
  readonly consequences: readonly { readonly messages: readonly { readonly count: number }[] }[];
}
