import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { type Log, silentLog } from "../../proto/runtime/log.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { SimulatedBroker } from "./simulated-broker.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, type UpstreamClient } from "./upstream-client.ts";

const topic = topicRef("t", { queueCount: 2 });
const group = groupRef("g");
/** So that some syncs are those of new segments, checkpoints and the index, and not of the log's end. */
const small = { segmentSize: 32 * 1024, checkpointEvery: 16 * 1024, indexMemory: 1 };

export interface BrokerSyncFailureCase {
  readonly seed: number;
  /** The how manieth sync of the whole broker, from when it is ready. */
  readonly failingCall: number;
  readonly sticky: boolean;
}

/** What many cases did together. */
export interface BrokerSyncFailureCounts {
  cases: number;
  /** Brokers that ended; the others lost a sync of a cache, and went on. */
  failures: number;
  sent: number;
  acked: number;
  /** Starts that wrote an unproven tail anew. */
  rewritten: number;
}

/**
 * T03 with everything in it: a sync of a whole broker under load fails and drops its pages. If it was one of the log, the process is
 * asked to end (code 74) and nothing is acknowledged any more, to nobody; a start that sees in the page cache what the disk has not,
 * and a power cut after it, lose no message whose send was answered and bring none back whose ack was.
 */
export async function runBrokerSyncFailure(
  { seed, failingCall, sticky }: BrokerSyncFailureCase,
  counts: BrokerSyncFailureCounts,
): Promise<void> {
  const randomness = new SeededRandomness(seed);
  const disk = new SimulatedDisk();
  const broker = await SimulatedBroker.start(disk, randomness, small);
  const last = disk.calls.sync + failingCall;
  disk.fail({ call: "sync", at: failingCall, kind: "io", sticky });
  const load = new Load(broker, randomness);
  // A few syncs more: of a cache that failed once, the broker says nothing and goes on.
  await load.until(() => broker.diskFailures.length > 0 || disk.calls.sync >= last + 20);
  counts.cases++;
  counts.sent += load.sent.size;
  counts.acked += load.acked.size;
  if (broker.diskFailures.length > 0) {
    counts.failures++;
    assert.deepEqual(
      broker.diskFailures.map(({ kind }) => kind),
      ["io"],
      "the owner is told once, and of the disk",
    );
    await assertSilent(broker);
  }
  await broker.die();

  // The page cache shows the next process what the disk never got; or the power goes at once, and what was answered is on the disk.
  if (randomness.fraction() < 0.3) disk.crash(randomness);
  else disk.kill();
  const actions: string[] = [];
  const second = await SimulatedBroker.start(disk, randomness, { ...small, log: tellingAction(actions) });
  if (actions.includes("fresh segment")) counts.rewritten++;
  const seen = messagesIn(second);
  for (const id of load.sent) assert.ok(seen.has(id), `${id} was acknowledged and is lost`);
  await second.die();

  // What the second process has shown is on the disk now, really.
  disk.crash(randomness);
  const third = await SimulatedBroker.start(disk, randomness, small);
  const left = messagesIn(third);
  for (const id of seen) assert.ok(left.has(id), `${id} was shown after the restart and is gone with the power`);
  await assertNothingComesBack(third, load);
  await third.die();
}

/** Sends, receives and acks side by side; keeps what was answered. */
class Load {
  readonly sent = new Set<string>();
  readonly acked = new Set<string>();
  readonly #client: UpstreamClient;
  readonly #randomness: SeededRandomness;

  constructor({ client }: SimulatedBroker, randomness: SeededRandomness) {
    this.#client = client;
    this.#randomness = randomness;
  }

  async until(isOver: () => boolean): Promise<void> {
    let count = 0;
    const send = async (): Promise<void> => {
      while (!isOver()) {
        const id = `m-${count++}`;
        const body = Buffer.alloc(randomIndex(this.#randomness, 1_500), 1);
        if ((await this.#client.send(topic, [encodedMessage(id, { body })])).ok) this.sent.add(id);
      }
    };
    const consume = async (): Promise<void> => {
      while (!isOver()) {
        const answer = await this.#client.receive(topic, group, { batch: 4, invisibleMs: 300_000, waitMs: 20 });
        for (const delivery of answer.ok ? answer.deliveries : []) {
          if (isOver()) break;
          const done = await this.#client.ack(group, delivery.receipt);
          if (done.ok && done.results[0]?.code === Code.Ok) this.acked.add(messageIdOf(delivery));
        }
      }
    };
    await Promise.all([send(), send(), consume()]);
  }
}

/** A broker whose log failed: its port is closed, and whoever reaches the state all the same is refused. */
async function assertSilent({ broker }: SimulatedBroker): Promise<void> {
  // The very first sync may have been that of the topic.
  const topicId = broker.state.topics()[0]?.id ?? 1;
  const messages = [Buffer.from(encodedMessage("late"))];
  const call = { topicId, laneMark: "", bornHost: "", messages };
  const sent = broker.state.send(call, { monotonicMs: performance.now(), wallMs: Date.now() });
  assert.ok(!sent.ok, "a send was taken after the disk had failed");
  const isClosed = ({ cause }: { cause?: { code?: string } }) => cause?.code === "ECONNREFUSED";
  await assert.rejects(fetch(`http://127.0.0.1:${broker.port}`), isClosed);
}

function messagesIn({ broker: { state } }: SimulatedBroker): Set<string> {
  const found = new Set<string>();
  const now = { monotonicMs: performance.now(), wallMs: Date.now() };
  const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
  const reader = state.openGroup(
    { name: "default/reader", generation: 1, attemptsMax: 0, inflightMax: 0, backoff },
    now,
  );
  assert.ok(reader.ok);
  for (const { id: topicId, queueCount } of state.topics()) {
    for (let queueId = 0; queueId < queueCount; queueId++) {
      for (let offset = 0; ; ) {
        const call = {
          topicId,
          groupId: reader.id,
          queueId,
          offset,
          batch: 32,
          filterType: 1,
          filter: "*",
          bytesMax: 0,
        };
        const pulled = state.pull(call);
        assert.ok(pulled.ok, pulled.ok ? "" : pulled.message);
        for (const { bytes } of pulled.messages) {
          found.add(apache.rocketmq.v2.Message.decode(bytes).systemProperties?.messageId ?? "");
        }
        offset = pulled.nextOffset;
        if (pulled.isAtEnd) break;
      }
    }
  }
  return found;
}

async function assertNothingComesBack({ client }: SimulatedBroker, { acked }: Load): Promise<void> {
  for (;;) {
    const taken = await client.take(topic, group, { batch: 32, waitMs: 0, invisibleMs: 300_000 });
    if (taken.length === 0) return;
    for (const delivery of taken) {
      assert.ok(!acked.has(messageIdOf(delivery)), `${messageIdOf(delivery)} was acked and came again`);
    }
  }
}

/** Notes how each start has dealt with the end of the log. */
function tellingAction(actions: string[]): Log {
  const info = (fields: object): void => {
    if ("action" in fields) actions.push(String(fields.action));
  };
  return { ...silentLog, info } as Log;
}

/** Runs `count` cases, k = 1 and up, each once and sticky in turn. */
export async function runBrokerSyncFailures(seed: number, count: number): Promise<BrokerSyncFailureCounts> {
  const counts = { cases: 0, failures: 0, sent: 0, acked: 0, rewritten: 0 };
  for (let i = 0; i < count; i++) {
    const failingCall = 1 + (i >> 1);
    const one = { seed: (seed + i) >>> 0, failingCall, sticky: i % 2 === 0 };
    try {
      await runBrokerSyncFailure(one, counts);
    } catch (error) {
      if (error instanceof Error) error.message += `\n(${JSON.stringify(one)})`;
      throw error;
    }
  }
  return counts;
}
