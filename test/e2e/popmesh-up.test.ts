import assert from "node:assert/strict";
import { createServer } from "node:net";
import { request } from "undici";
import { popmeshCommand } from "../support/popmesh-command.ts";
import { RunningProcess } from "../support/running-process.ts";
import { childPid, type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";

describe("popmesh up", function () {
  this.timeout(60_000);

  it("prints its addresses when all three processes are ready, and ends cleanly on Ctrl-C", async () => {
    const mesh = await startMesh();
    try {
      for (const address of [mesh.endpoint, mesh.api, mesh.sidecarAdmin, mesh.brokerAdmin, mesh.dataDirectory]) {
        assert.ok(mesh.up.output.includes(address), `${address} is missing in:\n${mesh.up.output}`);
      }
      for (const address of [mesh.api, mesh.sidecarAdmin, mesh.brokerAdmin]) {
        const answer = await request(`http://${address}/ready`);
        await answer.body.dump();
        assert.equal(answer.statusCode, 200);
      }
    } finally {
      await mesh.stop();
    }
    assert.equal(await mesh.up.exited(), 0, mesh.up.output);
    assert.equal(mesh.up.output.split("stopping …")[1]?.trim(), "", "nothing that looks like trouble");
  });

  it("says which port is taken, how to choose another, and starts nothing", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
    const address = holder.address();
    assert.ok(typeof address === "object" && address !== null);
    const up = RunningProcess.node(popmeshCommand, [
      "up",
      "--listen",
      `127.0.0.1:${address.port}`,
      "--data-dir",
      "/tmp/popmesh-never",
    ]);
    try {
      assert.equal(await up.exited(), 1);
      assert.match(up.output, new RegExp(`127\\.0\\.0\\.1:${address.port} cannot be used .*another process listens`));
      assert.match(up.output, /--listen 127\.0\.0\.1:PORT/);
    } finally {
      holder.close();
    }
  });

  for (const part of ["control-plane", "broker-core", "sidecar"] as const) {
    it(`starts the ${part} again when it is killed`, async () => {
      const mesh = await startMesh();
      try {
        const before = await childPid(mesh, part);
        process.kill(before, "SIGKILL");
        await mesh.up.printed(/ended \(signal SIGKILL\); starting it again/);
        await waitUntil(
          "a new process that is ready",
          async () => (await isReady(mesh, part)) && (await pidOrZero(mesh, part)) !== before,
        );
      } finally {
        await mesh.stop();
      }
    });
  }

  it("takes its processes with it when it is killed itself", async () => {
    const mesh = await startMesh();
    const pids = await Promise.all(
      (["sidecar", "broker-core", "control-plane"] as const).map((part) => childPid(mesh, part)),
    );
    await mesh.up.stop("SIGKILL");
    await waitUntil("the end of all processes", () => pids.every((pid) => !isAlive(pid)), 30_000);
    await mesh.stop();
  });
});

async function isReady(mesh: Mesh, part: string): Promise<boolean> {
  const address = { sidecar: mesh.sidecarAdmin, "broker-core": mesh.brokerAdmin, "control-plane": mesh.api }[part];
  try {
    const answer = await request(`http://${address}/ready`);
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false;
  }
}

async function pidOrZero(mesh: Mesh, part: Parameters<typeof childPid>[1]): Promise<number> {
  return childPid(mesh, part).catch(() => 0);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
