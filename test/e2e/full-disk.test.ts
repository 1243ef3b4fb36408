import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Code } from "../../proto/code.ts";
import { mountKind, SmallDisk } from "../support/small-disk.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, UpstreamClient } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

const topic = topicRef("t");
const group = groupRef("g");
const segmentBytes = 16 * 1024 * 1024;
const flags = ["--segment-size", "16MiB"];
const body = Buffer.alloc(100_000, 7);

/**
 * A broker on a disk that gets full, and has room again: sends are refused with their code, receives and acks go on, then sends do, and
 * after a kill nothing that was acknowledged is lost or comes again (B13).
 */
async function throughAFullDisk(broker: BrokerProcess, fill: () => void, clear: () => void): Promise<void> {
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
    if (!answer.ok) assert.equal(answer.code, Code.TooManyRequests, answer.message);
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
    fill();
    let refused = await send();
    for (let i = 0; refused.ok && i < 1_000; i++) refused = await send();
    assert.ok(!refused.ok, "a full disk takes no messages");
    assert.equal(refused.code, Code.TooManyRequests, refused.message);
    for (let i = 0; i < 5; i++) assert.ok((await consume(5)) > 0, "receives and acks go on");
    const stillRefused = await send();
    assert.ok(!stillRefused.ok && stillRefused.code === Code.TooManyRequests);
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

describe("a broker process on a full disk (T05)", function () {
  this.timeout(120_000);

  it("refuses sends while the system lets no file grow to a segment (EFBIG), and loses nothing", async () => {
    const broker = await BrokerProcess.start(flags);
    const limit = (bytes: string) => {
      const { status, stderr } = spawnSync("prlimit", ["--pid", String(broker.process.child.pid), `--fsize=${bytes}:`]);
      assert.equal(status, 0, String(stderr));
    };
    // What is written into the segments that are there fits; a new one does not.
    await throughAFullDisk(
      broker,
      () => limit(String(segmentBytes - 65_536)),
      () => limit("unlimited"),
    );
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
});
