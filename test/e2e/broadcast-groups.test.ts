import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const consumerMain = join(compiledRoot, "test/support/broadcast-consumer.js");

describe("a broadcast group with the official SDK", function () {
  this.timeout(120_000);

  it("gives each of three instances every message, also one that is killed and comes back, beside an ordinary group", async () => {
    const parts = await MeshParts.start();
    const consumers: RunningProcess[] = [];
    try {
      const { address } = await parts.startSidecar();
      const popmesh = (...argv: string[]) => commandOutput(parts.api, argv);
      await popmesh("topic", "create", "news");
      await popmesh("group", "create", "readers", "--broadcast");
      const consume = (group: string, clientId: string) => {
        const consumer = RunningProcess.node(consumerMain, [address, group, "news", clientId]);
        consumers.push(consumer);
        return consumer;
      };
      const got = (...runs: RunningProcess[]) =>
        runs.flatMap(({ output }) => [...output.matchAll(/^got (\S+)$/gm)].map(([, body]) => body ?? ""));
      const waiting = async () => {
        const queues = (await (await fetch(`http://${parts.brokerAdmin}/queues`)).json()) as {
          subscriptions: { group: string; waiting: number }[];
        };
        return queues.subscriptions.filter(({ waiting: count }) => count > 0).map(({ group }) => group);
      };
      const a = consume("readers", "instance-a");
      const b = consume("readers", "instance-b");
      const c = consume("readers", "instance-c");
      const ordinary = [consume("workers", "worker-1"), consume("workers", "worker-2")];
      await waitUntil(
        "all wait for messages",
        async () => {
          const groups = await waiting();
          return groups.filter((group) => group.startsWith("default/readers@")).length === 3 && groups.length >= 4;
        },
        40_000,
      );

      const producer = new Producer({ endpoints: address, namespace: "", topics: ["news"], logger: quietLogger });
      await producer.startup();
      const sent: string[] = [];
      const send = async (count: number) => {
        for (let i = 0; i < count; i++) {
          const body = `m-${sent.length}`;
          await producer.send({ topic: "news", body: Buffer.from(body) });
          sent.push(body);
        }
      };
      await send(40);
      await waitUntil("the second instance has some", () => got(b).length > 0, 20_000);
      await b.stop("SIGKILL");
      await send(40);
      const again = consume("readers", "instance-b");
      const hasAll = (...runs: RunningProcess[]) => new Set(got(...runs)).size === sent.length;
      const everybody = [[a], [b, again], [c], ordinary];
      await waitUntil("everybody has every message", () => everybody.every((runs) => hasAll(...runs)), 60_000).catch(
        (error: Error) => {
          const counts = everybody.map((runs) => new Set(got(...runs)).size).join(", ");
          throw new Error(`${error.message}: they have ${counts} of ${sent.length}`);
        },
      );
      assert.deepEqual([...new Set(got(a))].sort(), [...sent].sort());
      assert.equal(got(a).length, sent.length, "each once");
      assert.equal(got(c).length, sent.length, "each once");
      assert.equal(got(...ordinary).length, sent.length, "an ordinary group shares them");

      const described = await popmesh("group", "describe", "readers");
      for (const clientId of ["instance-a", "instance-b", "instance-c"]) assert.match(described, new RegExp(clientId));
      await producer.shutdown();
    } finally {
      for (const consumer of consumers) await consumer.stop("SIGKILL");
      await parts.stop();
    }
  });
});
