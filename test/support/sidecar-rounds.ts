import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "./raw-v2-client.ts";
import type { MeshParts, SidecarProcess } from "./start-parts.ts";
import { waitUntil } from "./wait-until.ts";

/** What one SIGTERM under load did. */
export interface DrainReport {
  readonly sent: number;
  readonly acked: number;
  readonly failedAcks: number;
  /** Sends acknowledged that neither the application nor, after it, anybody else got. */
  readonly lost: readonly string[];
  /** Received again although acked. */
  readonly redelivered: readonly string[];
  /** Time until the successor had all that was sent before the SIGTERM and the application had not finished, milliseconds. */
  readonly handedBackAfterMs: number;
  readonly exitCode: number | string;
}

const seconds = (count: number) => ({ seconds: count, nanos: 0 });

/**
 * T12: SIGTERM to a sidecar whose application sends, receives and acks as fast as it can. The application goes on for a second,
 * finishes what it holds, and leaves; somebody else takes the rest through another sidecar, at once: the invisible time is far
 * longer than the test, so what the stopping sidecar dropped would be missed.
 */
export async function drainUnderLoad(mesh: MeshParts, round: number): Promise<DrainReport> {
  const topic = `drain-${round}`;
  const group = topic;
  const [stopping, staying] = [await mesh.startSidecar(), await mesh.startSidecar()];
  const app = mesh.client(stopping, "app");
  const sent = new Set<string>();
  const seen = new Set<string>();
  const acked = new Set<string>();
  const redelivered: string[] = [];
  let failedAcks = 0;
  let isSending = true;
  let isReceiving = true;

  const sendLoop = async (name: string) => {
    for (let i = 0; isSending; i++) {
      const body = `${name}-${i}`;
      const answer = await app.call("SendMessage", { messages: [message(topic, body)] }).catch(() => undefined);
      if (answer?.status?.code === Code.Ok) sent.add(body);
    }
  };
  const receiveLoop = async (client: RawV2Client, wanted: () => boolean) => {
    while (wanted()) {
      const request = receiveRequest(topic, group, { invisibleDuration: seconds(60), longPollingTimeout: seconds(5) });
      const received = await client.receive(request).catch(() => undefined);
      for (const { body, systemProperties } of received?.messages ?? []) {
        const text = Buffer.from(body).toString();
        if (acked.has(text)) redelivered.push(text);
        seen.add(text);
        const answer = await client
          .call("AckMessage", {
            group: { name: group },
            topic: { name: topic },
            entries: [
              { messageId: systemProperties?.messageId ?? "", receiptHandle: systemProperties?.receiptHandle ?? "" },
            ],
          })
          .catch(() => undefined);
        if (answer?.status?.code === Code.Ok) acked.add(text);
        else failedAcks++;
      }
    }
  };
  const sending = Promise.all(["a", "b", "c", "d"].map(sendLoop));
  const receiving = Promise.all([0, 1, 2].map(() => receiveLoop(app, () => isReceiving)));
  await waitUntil("load", () => sent.size > 200 && acked.size > 100);

  const sentBefore = [...sent];
  stopping.process.child.kill("SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  isSending = false;
  isReceiving = false;
  await Promise.all([sending, receiving]);
  const leftMs = performance.now();
  app.close();

  let isTakingOver = true;
  const successor = mesh.client(staying, "successor");
  const takingOver = Promise.all([0, 1, 2].map(() => receiveLoop(successor, () => isTakingOver)));
  // Far less than the invisible time: what was dropped while stopping does not come back in time.
  const isAll = (bodies: Iterable<string>) => [...bodies].every((body) => acked.has(body));
  await waitUntil("what was popped is handed out", () => isAll(sentBefore), 20_000).catch(() => {});
  const handedBackAfterMs = performance.now() - leftMs;
  await waitUntil("nothing is missing", () => isAll(sent), 20_000).catch(() => {});
  isTakingOver = false;
  await successor.call("NotifyClientTermination", {});
  await takingOver;
  const exitCode = await stopping.process.exited();
  await staying.process.stop("SIGKILL");
  const lost = [...sent].filter((body) => !acked.has(body));
  return {
    sent: sent.size,
    acked: acked.size,
    failedAcks,
    lost,
    redelivered,
    handedBackAfterMs,
    exitCode,
  };
}

export function assertDrained(report: DrainReport): void {
  assert.deepEqual(report.lost, []);
  assert.deepEqual(report.redelivered, []);
  assert.equal(report.failedAcks, 0);
  assert.equal(report.exitCode, 0);
}

/** What one SIGKILL with receipts out did. */
export interface ReceiptReport {
  readonly receipts: number;
  readonly ackedElsewhere: number;
  readonly readyAfterMs: number;
  /** What the broker still has for the group, waiting or handed out. */
  readonly left: number;
}

/**
 * T13: a sidecar is killed while `count` receipts are out. All of them are acked: half through its successor at the same
 * address, half through another sidecar that was there before.
 */
export async function killWithReceiptsOut(mesh: MeshParts, round: number, count: number): Promise<ReceiptReport> {
  const topic = `receipts-${round}`;
  const [killed, other] = [await mesh.startSidecar(), await mesh.startSidecar()];
  const app = mesh.client(killed, "app");
  for (let i = 0; i < count; i += 100) {
    const messages = Array.from({ length: Math.min(100, count - i) }, (_, n) => message(topic, `m${i + n}`));
    assert.equal((await app.call("SendMessage", { messages })).status?.code, Code.Ok);
  }
  const entries: { messageId: string; receiptHandle: string }[] = [];
  while (entries.length < count) {
    const { messages } = await app.receive(receiveRequest(topic, topic, { invisibleDuration: seconds(300) }));
    assert.ok(messages.length > 0, `only ${entries.length} of ${count} messages came`);
    for (const { systemProperties } of messages) {
      entries.push({
        messageId: systemProperties?.messageId ?? "",
        receiptHandle: systemProperties?.receiptHandle ?? "",
      });
    }
  }
  await killed.process.stop("SIGKILL");
  const killedMs = performance.now();
  const successor = await mesh.startSidecar(killed);
  const readyAfterMs = performance.now() - killedMs;

  const names = { group: { name: topic }, topic: { name: topic } };
  let ackedElsewhere = 0;
  for (const [sidecar, part] of [
    [successor, entries.slice(0, count / 2)],
    [other, entries.slice(count / 2)],
  ] as [SidecarProcess, typeof entries][]) {
    const client = mesh.client(sidecar, `after-${sidecar.address}`);
    for (let i = 0; i < part.length; i += 50) {
      const answer = await client.call("AckMessage", { ...names, entries: part.slice(i, i + 50) });
      ackedElsewhere += answer.entries.filter(({ status }) => status?.code === Code.Ok).length;
    }
  }
  const answer = await fetch(`http://${mesh.brokerAdmin}/queues`);
  const { subscriptions } = (await answer.json()) as {
    subscriptions: { group: string; ready: number; inFlight: number }[];
  };
  const own = subscriptions.find(({ group }) => group === `default/${topic}`);
  assert.ok(own !== undefined, `the broker does not know group ${topic}`);
  for (const { process } of [successor, other]) await process.stop("SIGKILL");
  return { receipts: entries.length, ackedElsewhere, readyAfterMs, left: own.ready + own.inFlight };
}

export function assertReceiptsOutlive(report: ReceiptReport): void {
  assert.equal(report.ackedElsewhere, report.receipts);
  assert.equal(report.left, 0);
}
