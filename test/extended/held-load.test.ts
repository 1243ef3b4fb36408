import assert from "node:assert/strict";
import { checkHistory } from "../support/history-checker.ts";
import { HistoryLoad } from "../support/history-load.ts";
import { LeanV2Client } from "../support/lean-v2-client.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const perSecond = 2_000;
const count = 60 * perSecond;
const clientCount = 8;
const consumerCount = 4;

/** T19. How long a send takes is printed and not judged here; that none is missing, late for good or answered with an error is. */
describe("A minute of messages of 1 KiB, offered at 2 000 per second", () => {
  it("is sent, received and acked through the sidecar without an error", async () => {
    const parts = await MeshParts.start();
    const sidecar = await parts.startSidecar();
    const clients = Array.from({ length: clientCount }, (_, i) => new LeanV2Client(sidecar.address, `held-${i}`));
    try {
      // As SDKs do before they send. What the first use of a topic takes is no figure of a held load.
      await clients[0]?.call("QueryRoute", { topic: { name: "held" } });
      const load = new HistoryLoad({
        ...{ topic: "held", group: "held", producerCount: clientCount, consumerCount, bodyBytes: 1_024 },
        ...{ invisibleMs: 30_000, keptShare: 0, pace: { perSecond, count } },
        client: (number) => clients[number % clientCount]!,
      });
      const startedMs = performance.now();
      load.start();
      await waitUntil("everything is sent", () => !load.isSending, 120_000);
      const seconds = (performance.now() - startedMs) / 1_000;
      load.isDraining = true;
      await waitUntil("everything is acked", () => load.ackedCount >= load.sentCount, 60_000);
      await load.stop();
      const { events } = load;
      const { violations, counts } = checkHistory(events, { subscriptions: [{ group: "held", topic: "held" }] });
      console.log(`      ${counts.sendsOk} of ${count} sends in ${seconds.toFixed(1)} s: ${percentiles(load.sendMs)}`);
      assert.deepEqual(violations.slice(0, 10), []);
      const errors = events.filter(({ result }) => result !== "ok");
      assert.deepEqual(errors.slice(0, 10), []);
      assert.deepEqual([counts.sendsOk, counts.acksOk], [count, count]);
    } finally {
      for (const client of clients) client.close();
      await parts.stop();
    }
  }).timeout(240_000);
});

/** From the moment a send was due. */
function percentiles(sendMs: readonly number[]): string {
  const sorted = [...sendMs].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  const within = ((100 * sorted.filter((ms) => ms <= 100).length) / sorted.length).toFixed(3);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, ${within} % within 100 ms`;
}
