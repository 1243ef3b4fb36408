import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answered, type HandOut } from "../../broker-core/broker-port.ts";
import { BrokerState } from "../../broker-core/broker-state.ts";
import { IndexFiles } from "../../broker-core/consume-queue/index-files.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { messageBytes, receiptKey } from "./broker-fixture.ts";
import { MemoryLog } from "./memory-log.ts";

/*
 * A program of its own, run with --expose-gc: what else a process holds and lets go would be counted with the queues. Prints the
 * bytes of heap and buffers that an idle queue takes, its topic, name and reader included.
 */

// Tables that double have grown not long before, so they are about as empty as they can be.
const queueCount = 50_000;
/** What a broker takes whatever the number of queues is left out: it has all of that with so many. */
const fewQueues = 5_000;
const now = { monotonicMs: 1_000_000, wallMs: 1_700_000_000_000 };
const directory = mkdtempSync(join(tmpdir(), "popmesh-idle-queues-"));

try {
  const few = await bytesOfState(fewQueues);
  process.stdout.write(`${((await bytesOfState(queueCount)) - few) / (queueCount - fewQueues)}\n`);
} finally {
  rmSync(directory, { recursive: true });
}

/** What a collection frees is counted off later, by another thread: the least of several looks. */
async function bytesInUse(): Promise<number> {
  assert.ok(globalThis.gc !== undefined);
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 8; look++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}

/** A broker whose queues were all opened, read and used, and are idle now. Index entries have as little memory as can be. */
function idleBroker(count: number): { state: BrokerState | undefined; readonly log: MemoryLog } {
  const log = new MemoryLog();
  const receipts: Buffer[] = [];
  const sink = {
    receiveAnswered: (_: number, handOut: HandOut) => {
      for (let i = 0; i < handOut.count; i++) {
        assert.ok(handOut.load(i));
        receipts.push(Buffer.from(handOut.delivery.receipt));
      }
    },
    receiveRefused: (_: number, code: number, text: string) => assert.fail(`${code}: ${text}`),
  };
  const storage = new NodeStorage(join(directory, String(count)), "boot-1");
  const state = new BrokerState(log, sink, {
    ...{ brokerName: "broker-a", receiptKey, runId: 1, bootId: "boot-1", start: now, groupStart: "beginning" },
    indexPages: new IndexFiles({ storage, randomness: new SeededRandomness(1), log: silentLog }),
    indexBytes: 0,
    topicsInUseMin: 16,
  });
  log.onDurable = (position) => state.onDurable(position, now);
  state.goLive(now);
  const backoff = { delaysMs: [1_000], initialMs: 0, maxMs: 0, multiplier: 0 };
  const group = state.openGroup({ name: "default/g", generation: 1, attemptsMax: 16, inflightMax: 0, backoff }, now);
  assert.ok(group.ok);
  const messages = [messageBytes({ id: "m", body: "x" })];
  const call = { groupId: group.id, batch: 1, invisibleMs: 60_000, waitMs: 0, filterType: 1, filter: "*" };
  const client = { clientId: "client-1", attemptId: "", lane: "", bytesMax: 0 };
  for (let n = 0; n < count; n++) {
    const name = `default/topic-${String(n).padStart(7, "0")}`;
    const topic = state.openTopic({ name, incarnation: 1, messageTypes: 2, queueCount: 1 }, now);
    assert.ok(topic.ok && state.send({ topicId: topic.id, laneMark: "", bornHost: "a", messages }, now).ok);
    log.sync();
    assert.equal(state.receive({ ...call, ...client, topicId: topic.id }, 1, now), answered);
    assert.ok(state.ack(group.id, receipts.splice(0), now).ok);
    log.sync();
  }
  log.onDurable = undefined;
  assert.equal(state.topics().length, count);
  return { state, log };
}

/** What the state takes, without the log below it. */
async function bytesOfState(count: number): Promise<number> {
  const broker = idleBroker(count);
  const before = await bytesInUse();
  assert.ok(broker.state !== undefined);
  broker.state = undefined;
  const bytes = before - (await bytesInUse());
  assert.ok(broker.log.endPosition > 0);
  return bytes;
}
