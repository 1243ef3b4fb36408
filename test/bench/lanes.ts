import { apache } from "#codec/rocketmq-v2";
import type { HandOut } from "../../broker-core/broker-port.ts";
import { BrokerState } from "../../broker-core/broker-state.ts";
import type { LogReader, LogRecord, LogWriter, RecordType } from "../../broker-core/commit-log/log.ts";
import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";

/**
 * What lane rules cost the state machine: CPU time per message of sends and of receives, over a log that keeps nothing, for a topic
 * without rules and with some. Each round runs all of them; the least of each counts, and the ratios to the first are what holds.
 *
 *     node dist/test/bench/lanes.js [rounds]
 */
const rounds = Number(process.argv[2] ?? 5);
const messagesPerRound = 200_000;
const sendsPerTurn = 1_024;
const bodyBytes = 100;

const { Message } = apache.rocketmq.v2;

function message(group: string): Buffer {
  const systemProperties = {
    tag: "created",
    messageId: "0".repeat(34),
    messageType: group === "" ? 1 : 2,
    bornHost: "app-1",
  };
  return Buffer.from(
    Message.encode({
      topic: { name: "bench" },
      userProperties: { amount: "120", region: "eu" },
      systemProperties: group === "" ? systemProperties : { ...systemProperties, messageGroup: group },
      body: Buffer.alloc(bodyBytes, "b"),
    }).finish(),
  );
}

/** A log that forgets what it is given. */
class NoLog implements LogWriter, LogReader {
  endPosition = 0;
  writtenPosition = 0;
  durablePosition = 0;
  youngPosition = 0;
  takesMessages = true;
  takesReleases = true;
  onDurable: ((durablePosition: number) => void) | undefined;
  readonly #bytes = Buffer.alloc(1 << 20);
  #at = 0;

  append(_type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    if (this.#at + length > this.#bytes.length) this.#at = 0;
    const position = this.endPosition;
    this.endPosition += 24 + length;
    fill(this.#bytes, this.#at);
    this.#at += length;
    return position;
  }

  refusal(): MeshError {
    return new MeshError(Code.InternalServerError, "this log takes everything");
  }

  read(position: number): LogRecord {
    throw new Error(`nothing is kept at ${position}`);
  }

  whenWritten(_position: number, action: () => void): void {
    action();
  }

  whenDurable(_position: number, action: () => void): void {
    action();
  }
}

interface Row {
  readonly name: string;
  readonly isOrdered?: boolean;
  readonly rule?: object;
  readonly isOnOtherTopic?: boolean;
  /** Lanes in which somebody receives. */
  readonly lanes?: readonly string[];
}

const byMark = { clauses: [{ to: "canary", lane: "canary" }] };
const bySql = {
  clauses: [
    { to: "canary", sql: "amount > 100 AND region IN ('us')" },
    { to: "canary", percent: 5 },
  ],
};
const rows: readonly Row[] = [
  { name: "no rule" },
  { name: "no rule, one on another topic", rule: byMark, isOnOtherTopic: true },
  { name: "by lane mark, spilled", rule: byMark },
  { name: "by lane mark, with a canary", rule: byMark, lanes: ["", "canary"] },
  { name: "by SQL92 and 5 %, with a canary", rule: bySql, lanes: ["", "canary"] },
  { name: "no rule, in order", isOrdered: true },
  { name: "by lane mark, in order, with a canary", isOrdered: true, rule: byMark, lanes: ["", "canary"] },
  { name: "by SQL92 and 5 %, in order, with a canary", isOrdered: true, rule: bySql, lanes: ["", "canary"] },
];

const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** CPU microseconds per message: of a send, of a receive. */
function run({ isOrdered = false, rule, isOnOtherTopic = false, lanes = [""] }: Row): [number, number] {
  const log = new NoLog();
  let monotonicMs = 1_000;
  const now = () => ({ monotonicMs, wallMs: 1_700_000_000_000 + monotonicMs });
  let got = 0;
  const sink = {
    receiveAnswered: (_: number, { count }: HandOut) => {
      got = count;
    },
    receiveRefused: (_: number, code: number, text: string) => {
      throw new Error(`${code}: ${text}`);
    },
  };
  const identity = { brokerName: "bench", receiptKey: Buffer.alloc(32, 7), runId: 1, bootId: "bench" };
  const state = new BrokerState(log, sink, { ...identity, start: now(), groupStart: "beginning" });
  state.goLive(now());
  const open = (name: string): number => {
    const opened = state.openTopic({ name, incarnation: 1, messageTypes: isOrdered ? 4 : 2, queueCount: 1 }, now());
    if (!opened.ok) throw new Error(opened.message);
    return opened.id;
  };
  const [topicId] = [open("bench/messages"), open("bench/other")];
  const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
  const group = { name: "bench/group", generation: 1, attemptsMax: 0, inflightMax: 1e9, backoff };
  const opened = state.openGroup(group, now());
  if (!opened.ok) throw new Error(opened.message);
  const operate = (method: string, parameters: object): void => {
    const operated = state.operate(method, parameters, now());
    if (operated instanceof Promise || !operated.ok) throw new Error(`${method} failed`);
  };
  const ruled = isOnOtherTopic ? "bench/other" : "bench/messages";
  if (rule !== undefined) operate("lane.rule", { topic: ruled, name: "bench", number: 1, rule });
  const messages = Array.from({ length: sendsPerTurn }, (_, i) => message(isOrdered ? `group-${i}` : ""));
  const call = { topicId, groupId: opened.id, batch: 32, invisibleMs: 60_000, waitMs: 0, filterType: 1, filter: "*" };
  const client = { clientId: "client", attemptId: "", bytesMax: 0 };
  let sendUs = 0;
  let receiveUs = 0;
  for (let sent = 0; sent < messagesPerRound; sent += sendsPerTurn) {
    let from = cpuUs();
    for (const [i, bytes] of messages.entries()) {
      const laneMark = i % 20 === 0 ? "canary" : "";
      state.send({ topicId, laneMark, bornHost: "10.0.0.1", messages: [bytes] }, now());
    }
    sendUs += cpuUs() - from;
    log.writtenPosition = log.endPosition;
    log.durablePosition = log.endPosition;
    state.onDurable(log.endPosition, now());
    from = cpuUs();
    for (const lane of lanes) {
      do state.receive({ ...call, ...client, lane }, 1, now());
      while (got > 0);
    }
    receiveUs += cpuUs() - from;
    // They are put behind the group as a reset does; what an ack costs is the same with lanes and without.
    operate("group.reset", { group: group.name, to: "latest" });
    monotonicMs += 1;
  }
  return [sendUs / messagesPerRound, receiveUs / messagesPerRound];
}

const least = rows.map(() => [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY] as [number, number]);
for (const row of rows) run(row);
for (let round = 0; round < rounds; round++) {
  for (const [i, row] of rows.entries()) {
    const [send, receive] = run(row);
    least[i] = [Math.min(least[i]![0], send), Math.min(least[i]![1], receive)];
  }
}
for (const [i, { name, isOrdered = false }] of rows.entries()) {
  const base = least[rows.findIndex((row) => (row.isOrdered ?? false) === isOrdered)]!;
  const [send, receive] = least[i]!;
  const ratio = (base[0] + base[1]) / (send + receive);
  process.stdout.write(
    `${name.padEnd(44)} send ${send.toFixed(2)} us  receive ${receive.toFixed(2)} us  throughput ${ratio.toFixed(2)}\n`,
  );
}
