import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExitCode } from "../../proto/runtime/process-lifecycle.ts";
import { runPopmesh } from "../support/popmesh-command.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, UpstreamClient } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

const main = join(compiledRoot, "broker-core/main.js");
const topic = topicRef("t");
const group = groupRef("g");

describe("The broker process", function () {
  this.timeout(60_000);

  it("serves on its ports, tells what it holds, and says when it is ready", async () => {
    const broker = await BrokerProcess.start();
    const client = new UpstreamClient(connectUpstream(broker.port));
    try {
      await broker.process.printed('"msg":"the broker is ready"');
      await client.store(topic, "a");
      await client.take(topic, group);
      const get = async (path: string) => fetch(`http://127.0.0.1:${broker.adminPort}${path}`);
      assert.equal((await get("/healthz")).status, 200);
      const text = await (await get("/stats/prometheus")).text();
      for (const line of [
        "popmesh_broker_sends_total 1",
        "popmesh_broker_messages_handed_out_total 1",
        "popmesh_broker_connections 1",
        'popmesh_broker_in_flight_messages{group="default/g",topic="default/t"} 1',
      ]) {
        assert.ok(text.includes(line), `${line} is missing in\n${text}`);
      }
      const config = (await (await get("/config_dump")).json()) as { name: string };
      assert.equal(config.name, "broker-a");
      assert.doesNotMatch(JSON.stringify(config), /receiptKey/);
      const { topics } = (await (await get("/queues")).json()) as { topics: { name: string; messages: number }[] };
      assert.deepEqual(
        topics.map(({ name, messages }) => [name, messages]),
        [["default/t", 1]],
      );
    } finally {
      await client.upstream.close(0);
      await broker.dispose();
    }
  });

  it("leaves a directory that popmesh broker check reads and judges, unless a broker is at work on it", async () => {
    const broker = await BrokerProcess.start();
    const client = new UpstreamClient(connectUpstream(broker.port));
    const check = (directory: string) => runPopmesh("", ["broker", "check", "--data-dir", directory]);
    try {
      await client.store(topic, "a", { body: Buffer.alloc(5_000, 7) });
      assert.equal((await check(broker.dataDirectory)).code, ExitCode.Locked);
      await client.upstream.close(0);
      await broker.process.stop("SIGKILL");
      const sound = await check(broker.dataDirectory);
      assert.deepEqual(
        [sound.code, sound.output.includes(": sound"), sound.output.includes("Message 1")],
        [0, true, true],
      );
      const [name = ""] = readdirSync(join(broker.dataDirectory, "log")).filter((each) => each.endsWith(".log"));
      const file = join(broker.dataDirectory, "log", name);
      const bytes = readFileSync(file);
      bytes.fill(0xff, bytes.indexOf(Buffer.alloc(5_000, 7)) + 10, bytes.indexOf(Buffer.alloc(5_000, 7)) + 20);
      writeFileSync(file, bytes);
      const damaged = await check(broker.dataDirectory);
      assert.equal(damaged.code, 1, damaged.output);
      assert.match(damaged.output, /PROBLEM: log\/0{20}\.log: positions \d+ to \d+ cannot be read: 1 records are lost/);
      assert.equal((await check(join(broker.dataDirectory, "none"))).code, ExitCode.Storage);
    } finally {
      await broker.dispose();
    }
  });

  it("ends when a block of its index is damaged, and at the next start has every message from the log", async () => {
    const broker = await BrokerProcess.start();
    const long = { ...topic, queueCount: 1 };
    const sent = Array.from({ length: 300 }, (_, i) => `m-${String(i).padStart(3, "0")}`);
    let client = new UpstreamClient(connectUpstream(broker.port));
    try {
      await Promise.all(sent.map((id) => client.store(long, id)));
      await client.upstream.close(0);
      assert.equal(await broker.stop("SIGTERM"), ExitCode.Ok);
      const index = join(broker.dataDirectory, "index");
      const [name = ""] = readdirSync(index);
      const bytes = readFileSync(join(index, name));
      bytes.fill(0xff, 1_000, 1_001);
      writeFileSync(join(index, name), bytes);
      await broker.restart();
      client = new UpstreamClient(connectUpstream(broker.port));
      const asked = client.receive(long, group);
      assert.equal(await broker.process.exited(), ExitCode.Software);
      await asked;
      await client.upstream.close(0);
      assert.match(broker.process.output, /the index is damaged/);
      assert.ok(readdirSync(join(broker.dataDirectory, "quarantine")).length > 0);
      await broker.restart();
      client = new UpstreamClient(connectUpstream(broker.port));
      const found: string[] = [];
      for (let batch = await client.take(long, group); batch.length > 0; ) {
        for (const delivery of batch) found.push(messageIdOf(delivery));
        batch = found.length === sent.length ? [] : await client.take(long, group, { waitMs: 200 });
      }
      assert.deepEqual(found.sort(), sent);
    } finally {
      await client.upstream.close(0);
      await broker.dispose();
    }
  });

  it("stops on SIGTERM under load without waiting for parked receives, loses nothing, leaves a checkpoint and exits with 0", async () => {
    const broker = await BrokerProcess.start();
    const upstream = connectUpstream(broker.port);
    const client = new UpstreamClient(upstream);
    const sent: string[] = [];
    const unknown: string[] = [];
    try {
      await client.store(topic, "held");
      const [held] = await client.take(topic, group, { invisibleMs: 300_000 });
      const parked = client.receive(topicRef("empty"), group, { waitMs: 120_000 });
      let isStopped = false;
      const load = Array.from({ length: 8 }, async (_, producer) => {
        for (let i = 0; !isStopped; i++) {
          const id = `m-${producer}-${i}`;
          const answer = await client.send(topic, [encodedMessage(id)]);
          if (answer.ok) sent.push(id);
          else if (answer.reach === "unknown") unknown.push(id);
        }
      });
      await waitUntil("load", () => sent.length > 500);
      const exit = await broker.stop("SIGTERM");
      isStopped = true;
      await Promise.all(load);
      assert.deepEqual([exit, (await parked).ok], [ExitCode.Ok, true]);
      assert.deepEqual(unknown, [], "every send that was taken was answered before the end");
      assert.ok(readdirSync(join(broker.dataDirectory, "checkpoint")).length > 0);
      await broker.restart();
      await broker.process.printed('"recordCount":0');
      await waitUntil("the driver is back", () => upstream.isReady);
      const found = new Set<string>();
      for (let batch = await client.take(topic, group); batch.length > 0; ) {
        for (const delivery of batch) found.add(messageIdOf(delivery));
        batch = await client.take(topic, group, { waitMs: 200 });
      }
      assert.deepEqual(
        sent.filter((id) => !found.has(id)),
        [],
      );
      assert.equal(found.has("held"), false, "it is still held");
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, held!.receipt)), [20_000]);
    } finally {
      await upstream.close(0);
      await broker.dispose();
    }
  });

  it("exits with 75 when another process has its directory, naming it, and runs after that one was killed", async () => {
    const broker = await BrokerProcess.start();
    try {
      const second = RunningProcess.node(main, [
        ...["--data-dir", broker.dataDirectory, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ]);
      assert.equal(await second.exited(), ExitCode.Locked);
      assert.match(second.output, new RegExp(`process ${broker.process.child.pid} holds it`));
      await broker.killAndRestart();
    } finally {
      await broker.dispose();
    }
  });

  it("exits with 78 for a directory of a newer release and for a port that is taken", async () => {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-broker-exit-"));
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = taken.address() as { port: number };
      const flags = ["--data-dir", directory, "--admin", "127.0.0.1:0", "--control-plane", ""];
      const blocked = RunningProcess.node(main, [...flags, "--listen", `127.0.0.1:${port}`]);
      assert.equal(await blocked.exited(), ExitCode.Config);
      assert.match(blocked.output, /EADDRINUSE/);
      writeFileSync(join(directory, "format"), "2\n");
      const older = RunningProcess.node(main, [...flags, "--listen", "127.0.0.1:0"]);
      assert.equal(await older.exited(), ExitCode.Config);
      assert.match(older.output, /format \\?"2\\?"; this release knows 1;/);
    } finally {
      taken.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("exits with 64 for wrong settings, naming all of them, and explains itself", async () => {
    const wrong = RunningProcess.node(main, ["--name", "a.b", "--segment-size", "1KiB", "--listen", "nowhere"]);
    assert.equal(await wrong.exited(), ExitCode.Usage);
    assert.match(wrong.output, /--listen/);
    const names = RunningProcess.node(main, ["--name", "a.b", "--segment-size", "1KiB"]);
    assert.equal(await names.exited(), ExitCode.Usage);
    assert.match(names.output, /--name[\s\S]*--segment-size/);
    const help = RunningProcess.node(main, ["--help"]);
    assert.equal(await help.exited(), ExitCode.Ok);
    assert.match(help.output, /--data-dir[\s\S]*POPMESH_BROKER_DATA_DIR/);
  });
});
