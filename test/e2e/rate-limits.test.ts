import assert from "node:assert/strict";
import { Producer } from "rocketmq-client-nodejs";
import { applyManifests } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

/** An application on the official SDK that sends as fast as it is let; each send is tried once. */
class Sender {
  readonly #producer: Producer;
  readonly #topic: string;
  #loops: Promise<void>[] = [];
  #isSending = false;
  sent = 0;
  refusals = new Set<string>();

  constructor(sidecar: SidecarProcess, topic: string) {
    this.#topic = topic;
    this.#producer = new Producer({
      ...{ endpoints: sidecar.address, namespace: "", topics: [topic], logger: quietLogger, maxAttempts: 1 },
    });
  }

  async start(senders: number): Promise<void> {
    await this.#producer.startup();
    this.#isSending = true;
    this.#loops = Array.from({ length: senders }, async () => {
      while (this.#isSending) {
        try {
          await this.#producer.send({ topic: this.#topic, body: Buffer.from("x") });
          this.sent++;
        } catch (error) {
          this.refusals.add(String(error));
        }
      }
    });
  }

  async pause(): Promise<void> {
    this.#isSending = false;
    await Promise.all(this.#loops);
  }

  async stop(): Promise<void> {
    await this.pause();
    await this.#producer.shutdown();
  }
}

describe("a rate limit of the mesh", function () {
  this.timeout(60_000);
  const perSecond = 60;
  let parts: MeshParts;
  let sidecars: SidecarProcess[];
  before(async () => {
    parts = await MeshParts.start();
    sidecars = await Promise.all([1, 2, 3].map(() => parts.startSidecar(undefined, { "access-log": "off" })));
  });
  after(() => parts?.stop());

  const apply = async (name: string, spec: object) => {
    const manifest = { apiVersion: "popmesh.io/v1", kind: "RateLimit", metadata: { name }, spec };
    await applyManifests(parts.api, JSON.stringify(manifest));
  };
  /** The part of a limit that a sidecar uses; 0 while it has none. */
  const shareAt = async (sidecar: SidecarProcess, limit: string): Promise<number> => {
    const dump = (await (await fetch(`http://${sidecar.admin}/config_dump`)).json()) as {
      rateLimitShares: Record<string, { messages: number }>;
    };
    return dump.rateLimitShares[limit]?.messages ?? 0;
  };
  const sharesOf = (limit: string) => Promise.all(sidecars.map((sidecar) => shareAt(sidecar, limit)));

  it("holds for three sidecars together, whoever of them sends, and goes on without the control plane", async () => {
    await apply("orders", { topic: "orders", direction: "send", messagesPerSecond: perSecond, burst: "1s" });
    const senders = sidecars.map((sidecar) => new Sender(sidecar, "orders"));
    const sent = () => senders.reduce((sum, one) => sum + one.sent, 0);
    /** Sends of all for `ms`: how many passed, and how many may at most. */
    const passed = async (ms: number) => {
      const [beganMs, before] = [performance.now(), sent()];
      await waitUntil("time has passed", () => performance.now() - beganMs >= ms);
      const count = sent() - before;
      // Answers on their way at the beginning, one of each loop, are of sends that passed before it.
      return { count, most: perSecond * (1 + (performance.now() - beganMs) / 1_000) + 3 * 4 };
    };
    try {
      await Promise.all(senders.map((sender) => sender.start(4)));
      await waitUntil("all have about a third", async () =>
        (await sharesOf("default/orders")).every((share) => share > 0.25),
      );
      const all = await passed(2_000);
      assert.ok(all.count <= all.most, `${all.count} passed, ${all.most} may`);
      assert.ok(all.count > 0);
      for (const { refusals } of senders) {
        assert.ok(
          [...refusals].some((text) => text.includes('rate limit "orders"')),
          [...refusals].join("\n"),
        );
      }

      await Promise.all(senders.slice(1).map((sender) => sender.pause()));
      await waitUntil("the busy one has nearly all", async () => (await shareAt(sidecars[0]!, "default/orders")) > 0.8);
      const [, ...idle] = await sharesOf("default/orders");
      assert.ok(
        idle.every((share) => share > 0),
        "an idle one still may send something",
      );

      await parts.killControlPlane();
      const before = await sharesOf("default/orders");
      await Promise.all(senders.slice(1).map((sender) => sender.start(4)));
      const without = await passed(2_000);
      assert.deepEqual(await sharesOf("default/orders"), before);
      assert.ok(without.count <= without.most, `${without.count} passed, ${without.most} may`);
      assert.ok(senders.slice(1).every((sender) => sender.sent > 0));
    } finally {
      await Promise.all(senders.map((sender) => sender.stop()));
    }
  });
});
