import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Code } from "../../proto/code.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { message, receiveRequest } from "../support/raw-v2-client.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";
import { waitUntil } from "../support/wait-until.ts";

const seconds = (count: number) => ({ seconds: count, nanos: 0 });

/** A real sidecar and a real broker, whose control plane is dead, or worse. */
describe("a sidecar without its control plane", function () {
  this.timeout(60_000);
  let parts: MeshParts;
  let directory: string;
  let rounds = 0;

  const flags = () => ({ "data-dir": directory, "drain-serve": "1ms", "drain-total": "2s" });
  const startSidecar = () => parts.startSidecar(undefined, flags());
  const endSidecar = (sidecar: SidecarProcess) => sidecar.process.stop("SIGTERM");
  /** One message goes out and comes back, and is acknowledged. */
  const serves = async (sidecar: SidecarProcess) => {
    const body = `round ${++rounds}`;
    const client = parts.client(sidecar, `client-${rounds}`);
    const sent = await client.call("SendMessage", { messages: [message("kept", body)] });
    assert.equal(sent.status?.code, Code.Ok, sent.status?.message);
    const request = receiveRequest("kept", "kept", {
      invisibleDuration: seconds(30),
      longPollingTimeout: seconds(5),
    });
    const { messages } = await client.receive(request);
    assert.deepEqual(
      messages.map((got) => Buffer.from(got.body).toString()),
      [body],
    );
    const [{ systemProperties }] = messages as [(typeof messages)[number]];
    const acked = await client.call("AckMessage", {
      ...{ group: { name: "kept" }, topic: { name: "kept" } },
      entries: [{ messageId: systemProperties?.messageId ?? "", receiptHandle: systemProperties?.receiptHandle ?? "" }],
    });
    assert.equal(acked.status?.code, Code.Ok, acked.status?.message);
  };

  before(async () => {
    parts = await MeshParts.start();
    directory = join(parts.directory, "kept-sidecar");
    const sidecar = await startSidecar();
    await serves(sidecar);
    await endSidecar(sidecar);
    await parts.killControlPlane();
  });
  after(() => parts?.stop());

  it("serves its whole life by the last good configuration on disk, and its successor too", async () => {
    for (let life = 0; life < 2; life++) {
      const sidecar = await startSidecar();
      for (let i = 0; i < 3; i++) await serves(sidecar);
      const unknown = await parts
        .client(sidecar, "asks")
        .call("QueryRoute", { topic: { name: "never-seen" } }, { deadlineMs: 3_000 });
      assert.equal(unknown.status?.code, Code.ProxyTimeout, "what it never knew is a passing failure, not a fact");
      // Killed, not stopped: what is on disk must do at any moment.
      await sidecar.process.stop(life === 0 ? "SIGKILL" : "SIGTERM");
    }
  });

  it("starts whatever became of the files, and serves by what is left of them", async () => {
    const randomness = new SeededRandomness(testSeed);
    const files = readdirSync(directory).filter((name) => name.startsWith("lkg."));
    assert.ok(files.length > 0);
    const kept = new Map(files.map((name) => [name, readFileSync(join(directory, name))]));
    for (let round = 0; round < 3; round++) {
      for (const [name, bytes] of kept) {
        // Lines of noise, a torn end, and a record that was written by nobody; the sound lines stay.
        const noise = Buffer.from(Array.from({ length: 200 }, () => Math.floor(randomness.fraction() * 256)));
        const forged = Buffer.from('00000000 {"t":"x","n":"default/kept","gone":true}\n');
        const torn = bytes.subarray(0, Math.floor(randomness.fraction() * bytes.length));
        writeFileSync(join(directory, name), Buffer.concat([noise, Buffer.from("\n"), forged, bytes, torn]));
      }
      const sidecar = await startSidecar();
      await serves(sidecar).catch((error: unknown) => {
        throw new Error(`${String(error)}${againWithSeed()}`);
      });
      await sidecar.process.stop("SIGKILL");
      assert.match(sidecar.process.output, /damaged lines in the last good configuration skipped/);
    }
  });

  it("goes on while something that is no control plane answers in its place", async () => {
    const randomness = new SeededRandomness(testSeed);
    const sockets = new Set<Socket>();
    let connections = 0;
    const answers: ((socket: Socket) => void)[] = [
      (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"),
      (socket) =>
        void socket.write(Buffer.from(Array.from({ length: 4_096 }, () => Math.floor(randomness.fraction() * 256)))),
      // A sound preface, then a frame that is none.
      (socket) => void socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xee, 1, 2, 3, 4, 5])),
      (socket) => void socket.destroy(),
    ];
    const impostor: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => sockets.delete(socket));
      answers[connections++ % answers.length]?.(socket);
    });
    const [host = "", port = ""] = parts.xds.split(":");
    await new Promise<void>((resolve) => impostor.listen(Number(port), host, resolve));
    const sidecar = await startSidecar();
    try {
      const startMs = performance.now();
      await waitUntil("each answer was given", async () => {
        await serves(sidecar);
        return connections >= answers.length;
      });
      // Its pauses grow: a broken peer is not hammered.
      assert.ok(connections <= 20 + (performance.now() - startMs) / 50, `${connections} connections`);
      await serves(sidecar);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => impostor.close(resolve));
      await endSidecar(sidecar);
    }
  });
});
