import assert from "node:assert/strict";
import { checkHistory } from "../support/history-checker.ts";
import { HistoryLoad } from "../support/history-load.ts";
import { RawV2Client } from "../support/raw-v2-client.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const ratePerSecond = 2_000;
const seconds = 60;
const clientCount = 8;

/**
 * Part of T19. What load the machine holds and how long a send takes is printed and not judged here; that no call fails and no message
 * is missing is.
 */
describe("A minute of messages of 1 KiB, offered at 2 000 per second", () => {
  it("is sent, received and acked through the sidecar without an error", async () => {
    const parts = await MeshParts.start();
    const sidecar = await parts.startSidecar();
    const clients = Array.from({ length: clientCount }, (_, i) => new RawV2Client(sidecar.address, `held-${i}`));
    try {
      const load = new HistoryLoad({
        ...{ topic: "held", group: "held", producerCount: clientCount, consumerCount: clientCount, bodyBytes: 1_024 },
        ...{ invisibleMs: 30_000, keptShare: 0, ratePerSecond },
        client: (number) => clients[number % clientCount]!,
      });
      load.start();
      await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
      load.stopSending();
      load.isDraining = true;
      await waitUntil("everything is acked", () => acked(load) >= load.sentCount, 60_000);
      await load.stop();
      const { violations, counts } = checkHistory(load.events, { subscriptions: [{ group: "held", topic: "held" }] });
      console.log(`      ${counts.sendsOk} sends of ${ratePerSecond * seconds} due, ${percentiles(load.sendMs)}`);
      assert.deepEqual(violations.slice(0, 10), []);
      const errors = load.events.filter(({ op, result }) => op !== "receive" && result !== "ok");
      assert.deepEqual(errors.slice(0, 10), []);
      // Enough to mean something. Whether all that was due was sent is a figure of the machine: see the line above.
      assert.ok(counts.sendsOk >= 10_000, `only ${counts.sendsOk} sends`);
    } finally {
      for (const client of clients) client.close();
      await parts.stop();
    }
  }).timeout(240_000);
});

function acked({ events }: HistoryLoad): number {
  return events.reduce((sum, { op, result }) => sum + (op === "ack" && result === "ok" ? 1 : 0), 0);
}

/** From the moment a send was due. */
function percentiles(sendMs: readonly number[]): string {
  const sorted = [...sendMs].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  const within = ((100 * sorted.filter((ms) => ms <= 100).length) / sorted.length).toFixed(3);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, ${within} % within 100 ms`;
}
