import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import { request } from "undici";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { ControlPlaneProcess } from "../support/control-plane-process.ts";
import { topicManifest, unary } from "../support/start-control-plane.ts";
import { waitUntil } from "../support/wait-until.ts";

const kills = 10;
const createdPerRound = 12;

describe("the control plane as a process", function () {
  this.timeout(120_000);
  let controlPlane: ControlPlaneProcess;
  beforeEach(async () => {
    controlPlane = await ControlPlaneProcess.create();
  });
  afterEach(() => controlPlane.remove());

  const topicNames = async () => {
    const { body } = await request(`${controlPlane.server}/v1/namespaces/default/topics`);
    const { items } = (await body.json()) as { items: { metadata: { name: string } }[] };
    return items.map(({ metadata }) => metadata.name);
  };

  it(`keeps every acknowledged creation through ${kills} kills with SIGKILL`, async () => {
    const acknowledged: string[] = [];
    let attempts = 0;
    let slowestReadyMs = 0;
    for (let round = 0; round < kills; round++) {
      const startMs = performance.now();
      await controlPlane.start("--auto-create", "on");
      slowestReadyMs = Math.max(slowestReadyMs, performance.now() - startMs);
      const names = new Set(await topicNames());
      assert.deepEqual(
        acknowledged.filter((name) => !names.has(name)),
        [],
        `lost in round ${round}`,
      );
      const goal = acknowledged.length + createdPerRound;
      let isKilled = false;
      const client = new Client(`127.0.0.1:${controlPlane.xdsPort}`, credentials.createInsecure());
      // Four at once by the API and four by the registry, so that the kill meets writes in every stage.
      const creators = Array.from({ length: 8 }, async (_, creator) => {
        while (!isKilled) {
          const name = `r${round}-${creator}-${attempts++}`;
          if (creator % 2 === 0 ? await createByApi(name) : await createByRegistry(client, name))
            acknowledged.push(name);
          else return;
        }
      });
      await waitUntil(`${goal} creations`, () => acknowledged.length >= goal);
      const killed = controlPlane.stop("SIGKILL");
      isKilled = true;
      await Promise.all([killed, ...creators]);
      client.close();
    }
    await controlPlane.start();
    const names = new Set(await topicNames());
    assert.deepEqual(
      acknowledged.filter((name) => !names.has(name)),
      [],
    );
    assert.ok(acknowledged.length >= kills * createdPerRound);
    process.stdout.write(
      `        ${kills} kills, ${acknowledged.length} creations acknowledged, 0 lost, ready after at most ${slowestReadyMs.toFixed(0)} ms\n`,
    );
  });

  it("stops in order on SIGTERM, and a directory without its store is refused with what to do", async () => {
    await controlPlane.start();
    await createByApi("orders");
    assert.equal(await controlPlane.stop("SIGTERM"), 0);
    rmSync(join(controlPlane.directory, "store"), { recursive: true });
    const refused = controlPlane.launch("--bootstrap", "true");
    assert.equal(await refused.exited(), 78);
    assert.match(refused.output, /1 were known .*--accept-empty-store true/);
    await controlPlane.start("--accept-empty-store", "true");
    assert.deepEqual(await topicNames(), []);
  });

  it("does not start on an empty directory unless told to", async () => {
    const refused = controlPlane.launch();
    assert.equal(await refused.exited(), 78);
    assert.match(refused.output, /--bootstrap true/);
  });

  it("says which setting is wrong, and exits with 64", async () => {
    const refused = controlPlane.launch("--auto-create", "maybe", "--lease", "1s");
    assert.equal(await refused.exited(), 64);
    assert.match(refused.output, /--auto-create: "maybe" is not one of on, off/);
    assert.match(refused.output, /--lease is unknown/);
  });

  it("does not share its data directory, and names who has it", async () => {
    await controlPlane.start();
    const pid = readFileSync(join(controlPlane.directory, "lock"), "utf8").split(" ")[0];
    const other = await ControlPlaneProcess.create();
    const second = other.launch("--data-dir", controlPlane.directory);
    assert.equal(await second.exited(), 75);
    assert.match(second.output, new RegExp(`in use by process ${pid}`));
    await other.remove();
  });

  it("says so when a port is taken, and exits with 78", async () => {
    await controlPlane.start();
    const other = await ControlPlaneProcess.create();
    for (const [flag, port] of [
      ["--xds", controlPlane.xdsPort],
      ["--api", controlPlane.apiPort],
    ] as const) {
      const second = other.launch("--bootstrap", "true", flag, `127.0.0.1:${port}`);
      assert.equal(await second.exited(), 78);
      assert.match(second.output, new RegExp(`cannot listen on 127.0.0.1:${port}`));
    }
    await other.remove();
  });

  /** True when it was acknowledged. */
  async function createByApi(name: string): Promise<boolean> {
    try {
      const headers = { "x-popmesh-client": "test" };
      const body = JSON.stringify(topicManifest(name));
      const answer = await request(`${controlPlane.server}/v1/apply`, { method: "POST", headers, body });
      await answer.body.dump();
      return answer.statusCode === 200;
    } catch {
      return false;
    }
  }

  async function createByRegistry(client: Client, name: string): Promise<boolean> {
    const body = popmesh.v1.EnsureTopicRequest.encode({ name: `default/${name}`, askedBy: "test" }).finish();
    try {
      const answer = await unary(client, "/popmesh.v1.Registry/EnsureTopic", body, (bytes) =>
        popmesh.v1.EnsureAnswer.decode(bytes),
      );
      return answer.code === Code.Ok;
    } catch {
      return false;
    }
  }
});
