import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Code } from "../../proto/code.ts";
import { JournaledDisk } from "../support/journaled-disk.ts";
import { mountKind, SmallDisk } from "../support/small-disk.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { MeshParts } from "../support/start-parts.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, UpstreamClient } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

const topic = topicRef("t");
const group = groupRef("g");
const segmentBytes = 16 * 1024 * 1024;
const flags = ["--segment-size", "16MiB"];
const body = Buffer.alloc(100_000, 7);

/**
 * A broker on a disk that takes nothing any more, and then does: sends are refused with their code, receives and acks go on, then sends
 * do, and after a kill nothing that was acknowledged is lost or comes again (B13).
 */
async function throughAFullDisk(
  broker: BrokerProcess,
  fill: () => void | Promise<void>,
  clear: () => void,
  code: Code = Code.TooManyRequests,
): Promise<void> {
  const upstream = connectUpstream(broker.port);
  const client = new UpstreamClient(upstream);
  const sent: string[] = [];
  const acked = new Set<string>();
  const send = async () => {
    const id = `m-${sent.length}`;
    const answer = await client.send(topic, [encodedMessage(id, { body })]);
    if (answer.ok) sent.push(id);
    return answer;
  };
  const taken = async () => {
    const answer = await send();
    // Until it looks again, within a second, the broker says what it has said before.
    if (!answer.ok) assert.ok([code, Code.TooManyRequests].includes(answer.code as Code), answer.message);
    return answer.ok;
  };
  const consume = async (batch: number) => {
    const taken = await client.take(topic, group, { batch, invisibleMs: 300_000, waitMs: 200 });
    const codes = UpstreamClient.codes(await client.ack(group, ...taken.map(({ receipt }) => receipt)));
    assert.ok(
      codes.every((code) => code === Code.Ok),
      `acks: ${codes}`,
    );
    for (const delivery of taken) {
      const id = messageIdOf(delivery);
      assert.ok(!acked.has(id), `${id} came again`);
      acked.add(id);
    }
    return taken.length;
  };
  try {
    for (let i = 0; i < 20; i++) assert.ok((await send()).ok);
    assert.ok((await consume(5)) > 0);
    await fill();
    let refused = await send();
    for (let i = 0; refused.ok && i < 1_000; i++) refused = await send();
    assert.ok(!refused.ok, "such a disk takes no messages");
    assert.equal(refused.code, code, refused.message);
    for (let i = 0; i < 5; i++) assert.ok((await consume(5)) > 0, "receives and acks go on");
    const stillRefused = await send();
    assert.ok(!stillRefused.ok && stillRefused.code === code);
    clear();
    await waitUntil("sends go on when there is room again", taken, 15_000);
    // Between two segments the broker may tell producers to be slower.
    for (let i = 0; i < 200; i++) await waitUntil("sends go on beyond the segment at hand", taken, 15_000);

    await broker.killAndRestart();
    await waitUntil("the driver is back", () => upstream.isReady);
    while ((await consume(32)) > 0);
    assert.deepEqual([...acked].sort(), sent.sort(), "nothing that was acknowledged is lost");
  } finally {
    await upstream.close(0);
    await broker.dispose();
  }
}

describe("a broker process on a disk that is full or read-only (T05)", function () {
  this.timeout(120_000);

  /** How large a file of a process may grow. What is written into the segments that are there fits; a new one does not. */
  const limit = (pid: number | undefined, bytes: string) => {
    const { status, stderr } = spawnSync("prlimit", ["--pid", String(pid), `--fsize=${bytes}:`]);
    assert.equal(status, 0, String(stderr));
  };
  const noSegment = String(segmentBytes - 65_536);

  it("refuses sends while the system lets no file grow to a segment (EFBIG), and loses nothing", async () => {
    const broker = await BrokerProcess.start(flags);
    const { pid } = broker.process.child;
    await throughAFullDisk(
      broker,
      () => limit(pid, noSegment),
      () => limit(pid, "unlimited"),
    );
  });

  it("is DEGRADED in the mesh, whose sends all go to the other broker until there is room again", async () => {
    const parts = await MeshParts.start({ "segment-size": "16MiB" });
    try {
      await parts.addBroker("broker-b");
      const brokers = async () => {
        const { items } = (await (await fetch(`${parts.api}/v1/brokers`)).json()) as {
          items: { metadata: { name: string }; status: { writable: boolean } }[];
        };
        return items.map(({ metadata, status }) => `${metadata.name} ${status.writable}`).join();
      };
      await waitUntil("both are registered", async () => (await brokers()) === "broker-a true,broker-b true");
      const sidecar = await parts.startSidecar();
      const client = parts.client(sidecar, "producer");
      let count = 0;
      const send = async () => {
        const systemProperties = { messageId: `m-${++count}`, messageType: 1 };
        const messages = [{ topic: { name: "orders" }, systemProperties, body: Buffer.alloc(2_000_000, 7) }];
        return (await client.call("SendMessage", { messages })).status?.code;
      };
      const healthOfA = async () => {
        const report = (await (await fetch(`http://${sidecar.admin}/clusters?format=json`)).json()) as object;
        return /"bg\/broker-a".*?"health":"(\w+)"/.exec(JSON.stringify(report))?.[1];
      };
      assert.equal(await send(), Code.Ok);
      limit(parts.brokerPid, noSegment);
      await waitUntil("its disk is full, and the sidecar knows", async () => {
        for (const code of await Promise.all([send(), send(), send(), send()])) {
          assert.ok(code === Code.Ok || code === Code.TooManyRequests, `code ${code}`);
        }
        return (await healthOfA()) === "degraded";
      });
      assert.equal(await brokers(), "broker-a false,broker-b true");
      for (let i = 0; i < 10; i++) assert.equal(await send(), Code.Ok, "the other one takes it");
      limit(parts.brokerPid, "unlimited");
      await waitUntil("it is one like the other again", async () => (await healthOfA()) === "healthy", 15_000);
      assert.equal(await send(), Code.Ok);
    } finally {
      await parts.stop();
    }
  });

  const kind = mountKind();
  if (kind === undefined) {
    // Said here so that nobody takes a run without it for one with it.
    it("is not tried on a file system of its own: mounting is not allowed here, the limit on files above stands for it", () => {
      assert.equal(mountKind(), undefined);
    });
    return;
  }
  it("refuses sends while its file system is full to the last byte (ENOSPC on a real tmpfs), and loses nothing", async () => {
    const disk = await SmallDisk.mount(kind, "96m");
    try {
      const broker = await BrokerProcess.start(flags, disk);
      await throughAFullDisk(
        broker,
        () => disk.fill(),
        () => disk.clear(),
      );
    } finally {
      await disk.unmount();
    }
  });

  it("refuses sends while its file system is mounted read-only (EROFS), reads and acks go on, and loses nothing", async () => {
    const disk = await SmallDisk.mount(kind, "192m");
    try {
      const broker = await BrokerProcess.start(flags, disk);
      const upstream = connectUpstream(broker.port);
      const client = new UpstreamClient(upstream);
      const old = topicRef("old");
      for (let i = 0; i < 200; i++) assert.ok((await client.send(old, [encodedMessage(`old-${i}`, { body })])).ok);
      // So that no file but the last is open.
      await broker.killAndRestart();
      await waitUntil("the driver is back", () => upstream.isReady);
      const shield = async () => {
        disk.shield();
        const taken = await client.take(old, group, { batch: 4 });
        assert.ok(
          taken.length > 0 && taken.every(({ message }) => message.length > body.length),
          "old messages are read",
        );
        await upstream.close(0);
      };
      await throughAFullDisk(broker, shield, () => disk.unshield(), Code.InternalServerError);
    } finally {
      await disk.unmount();
    }
  });

  if (!JournaledDisk.isPossible()) {
    it("is not tried on an ext4 that turns read-only by itself: a file cannot be mounted here", () => {
      assert.ok(!JournaledDisk.isPossible());
    });
    return;
  }
  it("ends with 74 on an ext4 that turned read-only by itself, changes nothing there, and has all when it is repaired", async () => {
    const disk = await JournaledDisk.mount("128M");
    try {
      const broker = await BrokerProcess.start(flags, disk);
      const upstream = connectUpstream(broker.port);
      const client = new UpstreamClient(upstream);
      const sent: string[] = [];
      for (let i = 0; i < 40; i++) {
        const id = `m-${i}`;
        assert.ok((await client.send(topic, [encodedMessage(id, { body })])).ok);
        sent.push(id);
      }
      const taken = await client.take(topic, group, { batch: 8, invisibleMs: 300_000 });
      await client.ack(group, ...taken.map(({ receipt }) => receipt));
      const acked = new Set(taken.map(messageIdOf));

      disk.abort();
      // The first one waits for a disk that never comes back; from then on it is known.
      const unanswered = client.send(topic, [encodedMessage("unanswered", { body })]);
      const ready = `http://127.0.0.1:${broker.adminPort}/ready`;
      await waitUntil("the broker is not ready", async () => (await fetch(ready)).status === 503);
      const refused = await client.send(topic, [encodedMessage("refused", { body })]);
      assert.ok(!refused.ok && refused.reach === "refused", "on a read-only disk nothing is taken");
      assert.equal(refused.code, Code.InternalServerError, refused.message);
      await broker.process.stop("SIGKILL");
      const answer = await unanswered;
      assert.ok(!answer.ok && answer.reach !== "refused", "nobody knows what became of it");
      assert.equal(await broker.startAgain(), 74);
      assert.match(broker.process.output, /EROFS/);

      disk.repair();
      await broker.restart();
      await waitUntil("the driver is back", () => upstream.isReady);
      const got: string[] = [];
      for (;;) {
        const next = await client.take(topic, group, { batch: 32, waitMs: 300 });
        if (next.length === 0) break;
        await client.ack(group, ...next.map(({ receipt }) => receipt));
        got.push(...next.map(messageIdOf));
      }
      assert.deepEqual(got.filter((id) => id.startsWith("m-")).sort(), sent.filter((id) => !acked.has(id)).sort());
      assert.ok((await client.send(topic, [encodedMessage("after", { body })])).ok);
      await upstream.close(0);
      await broker.process.stop("SIGKILL");
    } finally {
      await disk.unmount();
    }
  });
});
