import assert from "node:assert/strict";
import { isHeldBack, OrderedLoad } from "../support/ordered-load.ts";
import { commandOutput, popmeshCommand } from "../support/popmesh-command.ts";
import { RunningProcess } from "../support/running-process.ts";
import { SdkLoad } from "../support/sdk-load.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

/** What waits is handled in a second or two. An SDK looks at its route only every 30 s: it must not take as long to meet a new broker. */
const handledMsMax = 20_000;

describe("a mesh of several brokers under load of the official SDK", function () {
  this.timeout(400_000);

  it("adds a broker, drains another, and lets it go: nothing lost, nothing acked comes again, message groups in order", async () => {
    const parts = await MeshParts.start({ name: "broker-a" });
    const loads: { stop(): Promise<unknown> }[] = [];
    const sidecars: SidecarProcess[] = [];
    try {
      const popmesh = (...argv: string[]) => commandOutput(parts.api, argv);
      const lag = async (group: string): Promise<number> => {
        const answer = await fetch(`${parts.api}/v1/namespaces/default/groups/${group}/status`);
        const { topics } = (await answer.json()) as { topics: { lagMessages: number }[] };
        return topics.reduce((sum, { lagMessages }) => sum + lagMessages, 0);
      };
      const brokerB = await parts.addBroker("broker-b");
      const [first, second] = [await parts.startSidecar(), await parts.startSidecar()];
      sidecars.push(first, second);
      await popmesh("topic", "create", "orders");
      await popmesh("topic", "create", "transfers", "--type", "fifo");
      assert.match(await popmesh("get", "topics"), /transfers\s.*broker-a,broker-b/);

      const orders = new SdkLoad(first.address, "orders", "billing");
      const transfers = new OrderedLoad([first.address, second.address], "transfers", "ledger");
      loads.push(orders, transfers);
      await orders.start(1, 4);
      await transfers.start();
      await waitUntil("a load on both brokers", () => orders.sentCount >= 200 && transfers.sentCount >= 300, 60_000);

      const brokerC = await parts.addBroker("broker-c");
      await popmesh("topic", "place", "orders", "--add", "broker-c");
      await popmesh("topic", "place", "transfers", "--add", "broker-c");
      const draining = RunningProcess.node(
        popmeshCommand,
        ["broker", "drain", "broker-a", "--patience", "4s", "--wait"],
        { POPMESH_SERVER: parts.api },
      );
      await waitUntil("the drain is on", async () => /broker-a\s.*drain/.test(await popmesh("get", "brokers")));
      assert.equal(await draining.exited(), 0, draining.output);
      assert.match(draining.output, /broker "broker-a" is drained, may be removed/);
      const storedAtA = async () => stored(parts.brokerAdmin);
      const atEnd = await storedAtA();
      const sentAtEnd = orders.sentCount + transfers.sentCount;
      await waitUntil("the load goes on elsewhere", () => orders.sentCount + transfers.sentCount >= sentAtEnd + 300);
      assert.equal(await storedAtA(), atEnd, "a drained broker has taken messages");
      assert.ok((await stored(brokerB.admin)) > 0);

      assert.equal(await parts.stopBroker("SIGTERM"), 0);
      await popmesh("forget-broker", "broker-a");
      assert.doesNotMatch(await popmesh("get", "brokers"), /broker-a/);
      assert.match(await popmesh("get", "topics"), /orders\s.*broker-b,broker-c/);
      const sentWithout = transfers.sentCount;
      await waitUntil("message groups go on", () => transfers.sentCount >= sentWithout + 200, 30_000);

      orders.stopSending();
      await waitUntil("the orders are done", async () => (await lag("billing")) === 0, handledMsMax);
      const atC = await stored(brokerC.admin);
      const sentAtC = transfers.sentCount;
      await waitUntil("message groups go on without orders", () => transfers.sentCount >= sentAtC + 200, 30_000);
      assert.ok((await stored(brokerC.admin)) > atC, "no message group has come to the broker that was added");

      await transfers.stopSending();
      await waitUntil("all orders are handled", async () => (await lag("billing")) === 0, handledMsMax).catch(
        async (error: unknown) => {
          throw new Error(`${error}\n${await popmesh("group", "describe", "billing", "-o", "json")}`);
        },
      );
      await waitUntil(
        `all transfers are handled (left: ${transfers.left})`,
        () => transfers.isAllHandled,
        handledMsMax,
      );
      loads.length = 0;
      const [ofOrders, ofTransfers] = [await orders.stop(), await transfers.stop()];
      assert.deepEqual([ofOrders.lost, ofOrders.redeliveredAfterAck, ofOrders.phantoms], [[], [], []]);
      assert.equal(ofOrders.duplicates, 0);
      const { lost, doubled, overtaken, sendErrors } = ofTransfers;
      assert.deepEqual({ lost, doubled, overtaken }, { lost: [], doubled: [], overtaken: [] });
      // Message groups with a backlog are held back when the patience is over; nothing else fails.
      const others = sendErrors.filter((text) => !isHeldBack(text));
      assert.deepEqual([...new Set(others)], []);
      assert.ok(sendErrors.length > 0, "no message group had a backlog for longer than the patience");
    } finally {
      await Promise.allSettled(loads.map((load) => load.stop()));
      // In order: streams that the SDK still has open are closed, not broken.
      await Promise.all(sidecars.map(({ process }) => process.stop("SIGTERM")));
      await parts.stop();
    }
  });
});

/** How many messages a broker has stored in this run. */
async function stored(admin: string): Promise<number> {
  const text = await (await fetch(`http://${admin}/stats/prometheus`)).text();
  return Number(/^popmesh_broker_messages_stored_total (\d+)$/m.exec(text)?.[1]);
}
