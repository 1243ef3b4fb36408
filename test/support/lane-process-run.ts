import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Producer } from "rocketmq-client-nodejs";
import type { LogRecord } from "../../broker-core/commit-log/log.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { messageBodyStart, messageLaneMark } from "../../broker-core/record/message-record.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { LaneJudge } from "../simulator/lanes/lane-judge.ts";
import { LogFollower } from "../simulator/lanes/log-follower.ts";
import { OperatorLink } from "./operator-link.ts";
import { quietLogger } from "./quiet-logger.ts";
import { compiledRoot, RunningProcess } from "./running-process.ts";
import { MeshParts, type SidecarProcess } from "./start-parts.ts";
import { type Decision, TransactionProducer } from "./transaction-application.ts";
import { waitUntil } from "./wait-until.ts";

const [plain, ordered] = ["lane-orders", "lane-ledger"] as const;
const topics = [plain, ordered] as const;
const groups = ["billing", "audit"] as const;
const consumerMain = join(compiledRoot, "test/support/lane-schedule-consumer.js");
const orderKeyCount = 12;
const keyCount = 40;
/** Of the consumers; what was in hand at a kill comes again after it. */
const leaseMs = 10_000;
const patienceMs = 90_000;
const explainedMax = 200;

const manifests = `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: ${plain} }
spec: { type: mixed, queues: 4 }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: ${ordered} }
spec: { type: fifo, queues: 4 }
---
apiVersion: popmesh.io/v1
kind: ConsumerGroup
metadata: { name: billing }
---
apiVersion: popmesh.io/v1
kind: ConsumerGroup
metadata: { name: audit }
`;

/** What was done to the mesh. */
const stepKinds = [
  ...["rule", "rule", "rule", "delete", "canary consumer", "canary consumer", "base consumer"],
  ...["canary sidecar", "base sidecar", "broker", "control plane"],
] as const;
type StepKind = (typeof stepKinds)[number];

/** In every so manieth schedule lanes are spilled and resumed in any case: where steps are drawn, base may never come to stand in. */
const spillEvery = 4;

export interface LaneProcessReport {
  readonly schedules: number;
  readonly sent: number;
  readonly acked: number;
  readonly handlings: number;
  readonly inCanary: number;
  readonly duplicates: number;
  /** Handlings whose ack nobody answered: no more may be handled twice. */
  readonly unacked: number;
  readonly reassignments: number;
  readonly explained: number;
  readonly steps: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
}

interface Handling {
  readonly lane: string;
  readonly atNs: bigint;
  ackedNs: bigint | undefined;
}

/**
 * Lane schedules with real processes and the official SDK: a control plane, a broker, a sidecar for base and one for the canary,
 * consumers that print what they are given, and a producer in this process, on one mesh through all schedules. At the end
 * everything is up, all is drained, and the same judge as in the simulator reads the broker's own log.
 */
export class LaneProcessRun {
  readonly #parts: MeshParts;
  readonly #randomness: Randomness;
  readonly #judge = new LaneJudge(
    groups.map((name) => `default/${name}`),
    groups.map(() => ""),
    topics.length,
  );
  readonly #marks: string[] = [];
  readonly #decisions = new Map<number, Decision>();
  readonly #acked = new Set<number>();
  readonly #orderKeys: number[] = [];
  readonly #steps: Record<string, number> = {};
  readonly #violations: string[] = [];
  /** All consumers that ever were, by the lane of their sidecar. */
  readonly #consumers: { readonly process: RunningProcess; readonly lane: string; readTo: number }[] = [];
  /** By "<group> <number>"; what consumers have printed so far. */
  readonly #handled = new Map<string, Handling[]>();
  readonly #alive: Record<"base" | "canary", RunningProcess | undefined> = { base: undefined, canary: undefined };
  #sidecars!: Record<"base" | "canary", SidecarProcess>;
  #producer!: Producer;
  #transactions!: TransactionProducer;
  #isSending = true;
  #loops: Promise<void>[] = [];
  #schedules = 0;

  private constructor(parts: MeshParts, seed: number) {
    this.#parts = parts;
    this.#randomness = new SeededRandomness(seed);
  }

  static async start(seed: number): Promise<LaneProcessRun> {
    const run = new LaneProcessRun(await MeshParts.start(), seed);
    try {
      await run.#begin();
    } catch (error) {
      await run.stop();
      throw error;
    }
    return run;
  }

  async #begin(): Promise<void> {
    const parts = this.#parts;
    await this.#api("POST", "/v1/apply", manifests);
    const [base, canary] = await Promise.all([parts.startSidecar(), parts.startSidecar(undefined, { lane: "canary" })]);
    this.#sidecars = { base, canary };
    this.#consume("base");
    const common = { endpoints: base.address, namespace: "", logger: quietLogger, maxAttempts: 1 };
    this.#producer = new Producer({ ...common, topics: [...topics] });
    await this.#producer.startup();
    this.#transactions = new TransactionProducer(
      base.address,
      [plain],
      (body) => this.#decisions.get(Number(body)) ?? "ROLLBACK",
    );
    await this.#transactions.producer.startup();
    for (let key = 0; key < 3; key++) this.#loops.push(this.#sendPlain());
    for (let key = 0; key < 3; key++) this.#loops.push(this.#sendOrdered(key));
    this.#loops.push(this.#sendTransactions());
    await waitUntil(
      "the first messages are handled",
      () => this.#consumers.some(({ process }) => process.output.includes("acked")),
      patienceMs,
    );
  }

  /** Some steps, each while messages go on being sent. */
  async schedule(): Promise<void> {
    this.#schedules++;
    const randomness = this.#randomness;
    if (this.#schedules % spillEvery === 1) await this.#spill();
    for (let i = 0; i < 4; i++) {
      const kind = stepKinds[randomIndex(randomness, stepKinds.length)]!;
      this.#steps[kind] = (this.#steps[kind] ?? 0) + 1;
      await this.#step(kind);
      const wanted = this.#acked.size + 8 + randomIndex(randomness, 16);
      await waitUntil(
        `${wanted} sends are acked, after a step of kind ${kind}`,
        () => this.#acked.size >= wanted,
        patienceMs,
      );
    }
  }

  async #step(kind: StepKind): Promise<void> {
    const parts = this.#parts;
    switch (kind) {
      case "rule":
        await this.#rule();
        break;
      case "delete":
        for (const topic of topics)
          await this.#api("DELETE", `/v1/namespaces/default/lanerules/${topic}`).catch(() => {});
        break;
      case "canary consumer":
        if (this.#alive.canary === undefined) this.#consume("canary");
        else await this.#kill("canary");
        break;
      case "base consumer":
        await this.#kill("base");
        this.#consume("base");
        break;
      case "canary sidecar":
        await this.#sidecars.canary.process.stop("SIGKILL");
        this.#sidecars.canary = await parts.startSidecar(this.#sidecars.canary, { lane: "canary" });
        break;
      case "base sidecar":
        await this.#sidecars.base.process.stop("SIGKILL");
        this.#sidecars.base = await parts.startSidecar(this.#sidecars.base);
        break;
      case "broker":
        await parts.killBroker();
        break;
      case "control plane": {
        await parts.killControlPlane();
        const wanted = this.#acked.size + 8;
        await waitUntil("sends go on without a control plane", () => this.#acked.size >= wanted, patienceMs);
        await parts.startControlPlane();
        break;
      }
    }
  }

  /** Every lane of the broker loses its consumers until base stands in for it, and gets them back. */
  async #spill(): Promise<void> {
    this.#steps["spill"] = (this.#steps["spill"] ?? 0) + 1;
    for (const topic of topics) await this.#apply(topic, "", 1);
    if (this.#alive.canary === undefined) this.#consume("canary");
    const link = new OperatorLink(Number(this.#parts.brokerAddress.split(":")[1]));
    const areSpilled = async (wanted: "all" | "none") => {
      const { lanes, spilled } = await link.call<{ lanes: number; spilled: number }>("lanes.status", {});
      return lanes >= topics.length * groups.length && spilled === (wanted === "all" ? lanes : 0);
    };
    try {
      await waitUntil("every lane has its consumer", () => areSpilled("none"), patienceMs);
      await this.#kill("canary");
      await waitUntil("base stands in for every lane", () => areSpilled("all"), patienceMs);
      this.#consume("canary");
      await waitUntil("every lane has its consumer again", () => areSpilled("none"), patienceMs);
    } finally {
      link.close();
    }
  }

  async #rule(): Promise<void> {
    const percent = 10 + randomIndex(this.#randomness, 80);
    const topic = topics[randomIndex(this.#randomness, topics.length)]!;
    const share = this.#randomness.fraction() < 0.6 ? `\n    - { percent: ${percent}, to: canary }` : "";
    await this.#apply(topic, share, 1 + randomIndex(this.#randomness, 3));
  }

  /** What is marked for the canary is the canary's, and `share`; without a consumer there for `seconds`, base stands in. */
  async #apply(topic: string, share: string, seconds: number): Promise<void> {
    await this.#api(
      "POST",
      "/v1/apply",
      `apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: ${topic} }
spec:
  topic: ${topic}
  rules:
    - { when: { lane: canary }, to: canary }${share}
  whenEmpty: { action: spill, after: ${seconds}s }
`,
    );
  }

  /** Everything comes up, everything is handled, and all that was said and written is held against what lanes promise. */
  async finish(): Promise<LaneProcessReport> {
    this.#isSending = false;
    await Promise.all(this.#loops);
    if (this.#alive.canary === undefined) this.#consume("canary");
    await waitUntil(
      "every message whose send was acked is handled by every group",
      () => this.#missing().length === 0,
      patienceMs,
    ).catch(() => {
      for (const key of this.#missing().slice(0, 10)) this.#violations.push(`lost: no consumer was given ${key}`);
    });
    // What was acked just before its consumer was killed has no line of its own; of the broker's log nothing is hidden.
    await waitUntil("the broker has nothing left", async () => (await this.#lag()) === 0, patienceMs).catch(
      (error: unknown) => this.#violations.push(`left: ${String(error)}`),
    );
    const explained = await this.#judgeLog();
    const counts = this.#judgeHandlings();
    const { reassignments } = this.#judge.counts;
    return {
      ...counts,
      ...{ schedules: this.#schedules, sent: this.#marks.length, acked: this.#acked.size, reassignments, explained },
      steps: this.#steps,
      violations: [...this.#violations, ...this.#judge.violations],
    };
  }

  async stop(): Promise<void> {
    this.#isSending = false;
    await Promise.all(this.#consumers.map(({ process }) => process.stop("SIGKILL")));
    await this.#parts.stop();
  }

  #consume(lane: "base" | "canary"): void {
    const argv = [this.#sidecars[lane].address, groups.join(","), topics.join(",")];
    const process = RunningProcess.node(consumerMain, argv);
    this.#alive[lane] = process;
    this.#consumers.push({ process, lane, readTo: 0 });
  }

  async #kill(lane: "base" | "canary"): Promise<void> {
    await this.#alive[lane]?.stop("SIGKILL");
    this.#alive[lane] = undefined;
  }

  // Sending. One send at a time in each message group; what fails may have happened, and is not sent again.

  #next(topic: number, kind: "normal" | "fifo" | "timed" | "half", mark: string, orderKey: number): number {
    const number = this.#marks.length;
    const shareText = orderKey >= 0 ? `g${orderKey}` : `u${number % keyCount}`;
    this.#judge.sends({ topic, kind, mark: mark === "" ? "base" : mark, tag: "t", orderKey, shareText });
    this.#marks.push(mark);
    this.#orderKeys.push(orderKey);
    return number;
  }

  #ackedSend(number: number): void {
    this.#acked.add(number);
    this.#judge.sendAcked(number);
  }

  #propertiesOf(mark: string): Map<string, string> {
    return new Map(mark === "" ? [] : [["x-popmesh-lane", mark]]);
  }

  async #sendPlain(): Promise<void> {
    while (this.#isSending) {
      const mark = ["", "", "canary"][randomIndex(this.#randomness, 3)]!;
      const isTimed = this.#randomness.fraction() < 0.2;
      const number = this.#next(0, isTimed ? "timed" : "normal", mark, -1);
      const common = { topic: plain, tag: "t", keys: [`u${number % keyCount}`], body: Buffer.from(String(number)) };
      const time = isTimed ? { deliveryTimestamp: new Date(Date.now() + 1_500) } : {};
      await this.#attempt(number, () =>
        this.#producer.send({ ...common, ...time, properties: this.#propertiesOf(mark) }),
      );
    }
  }

  async #sendOrdered(first: number): Promise<void> {
    for (let i = 0; this.#isSending; i++) {
      const orderKey = (first + 3 * i) % orderKeyCount;
      const mark = ["", "", "canary"][randomIndex(this.#randomness, 3)]!;
      const number = this.#next(1, "fifo", mark, orderKey);
      const message = { topic: ordered, tag: "t", messageGroup: `g${orderKey}`, body: Buffer.from(String(number)) };
      await this.#attempt(number, () => this.#producer.send({ ...message, properties: this.#propertiesOf(mark) }));
    }
  }

  async #sendTransactions(): Promise<void> {
    while (this.#isSending) {
      const number = this.#next(0, "half", "", -1);
      const decision = number % 3 === 0 ? "ROLLBACK" : "COMMIT";
      this.#decisions.set(number, decision);
      if (decision === "ROLLBACK") this.#judge.rolledBack(number);
      const { producer } = this.#transactions;
      const transaction = producer.beginTransaction();
      const message = { topic: plain, tag: "t", keys: [`u${number % keyCount}`], body: Buffer.from(String(number)) };
      if (!(await this.#attempt(number, () => producer.send(message, transaction)))) continue;
      // What is not heard of is asked for later.
      await (decision === "COMMIT" ? transaction.commit() : transaction.rollback()).catch(() => {});
      await sleep(50);
    }
  }

  async #attempt(number: number, send: () => Promise<unknown>): Promise<boolean> {
    try {
      await send();
      this.#ackedSend(number);
      return true;
    } catch {
      await sleep(20);
      return false;
    }
  }

  // Judging.

  /** Reads on in what consumers print. */
  #handlings(): ReadonlyMap<string, Handling[]> {
    for (const consumer of this.#consumers) {
      const { output } = consumer.process;
      const end = output.lastIndexOf("\n") + 1;
      for (const line of output.slice(consumer.readTo, end).split("\n")) this.#readLine(line, consumer.lane);
      consumer.readTo = Math.max(consumer.readTo, end);
    }
    return this.#handled;
  }

  #readLine(line: string, lane: string): void {
    const [, what, group, number, ns] = /^(got|acked) (\S+) (\d+) (\d+)$/.exec(line) ?? [];
    if (ns === undefined) return;
    const key = `${group} ${number}`;
    const list = this.#handled.get(key) ?? [];
    this.#handled.set(key, list);
    if (what === "got") list.push({ lane, atNs: BigInt(ns), ackedNs: undefined });
    else {
      const held = list.findLast((handling) => handling.lane === lane && handling.ackedNs === undefined);
      if (held !== undefined) held.ackedNs = BigInt(ns);
    }
  }

  /** Messages whose sends were acked, and that some group was not given yet. */
  #missing(): string[] {
    const handlings = this.#handlings();
    const wanted = [...this.#acked].filter((number) => this.#decisions.get(number) !== "ROLLBACK");
    return groups.flatMap((group) => wanted.map((number) => `${group} ${number}`)).filter((key) => !handlings.has(key));
  }

  /** Messages that are neither acked nor dead, of all groups. */
  async #lag(): Promise<number> {
    let lag = 0;
    for (const group of groups) {
      const status = await this.#api("GET", `/v1/namespaces/default/groups/${group}/status`);
      const { topics: read } = JSON.parse(status) as { topics: { lagMessages: number }[] };
      for (const { lagMessages } of read) lag += lagMessages;
    }
    return lag;
  }

  #judgeHandlings(): { handlings: number; inCanary: number; duplicates: number; unacked: number } {
    const counts = { handlings: 0, inCanary: 0, duplicates: 0, unacked: 0 };
    const latest = new Map<string, { readonly number: number; readonly atNs: bigint }>();
    const firsts: { readonly group: string; readonly number: number; readonly atNs: bigint }[] = [];
    for (const [key, list] of this.#handlings()) {
      list.sort((a, b) => (a.atNs < b.atNs ? -1 : 1));
      const [group = "", text] = key.split(" ");
      const number = Number(text);
      counts.handlings += list.length;
      counts.duplicates += list.length - 1;
      counts.inCanary += list.filter(({ lane }) => lane === "canary").length;
      counts.unacked += list.filter(({ ackedNs }) => ackedNs === undefined).length;
      firsts.push({ group, number, atNs: list[0]!.atNs });
      if (this.#decisions.get(number) === "ROLLBACK")
        this.#violations.push(`rolled back: message ${number} is handled by ${group}`);
      for (const [i, { atNs }] of list.entries()) {
        const before = list[i - 1];
        if (before === undefined) continue;
        if (before.ackedNs !== undefined && before.ackedNs < atNs)
          this.#violations.push(`duplicate: message ${number} is handled by ${group} again after its ack`);
        // A lease is granted before the consumer sees the message.
        if (Number(atNs - before.atNs) / 1e6 < leaseMs * 0.5)
          this.#violations.push(`duplicate: message ${number} is handled by ${group} again while its lease runs`);
      }
    }
    if (counts.duplicates > counts.unacked)
      this.#violations.push(`duplicate: ${counts.duplicates}, and ${counts.unacked} in flight`);
    firsts.sort((a, b) => (a.atNs < b.atNs ? -1 : 1));
    for (const { group, number, atNs } of firsts) {
      const orderKey = this.#orderKeys[number]!;
      if (orderKey < 0) continue;
      const key = `${group} ${orderKey}`;
      const before = latest.get(key);
      if (before !== undefined && before.number > number)
        this.#violations.push(
          `order: message ${number} of message group ${orderKey} is handled by ${group} after ${before.number}`,
        );
      latest.set(key, { number, atNs });
    }
    return counts;
  }

  /** The judge reads a copy of the log, and compares what the broker explains. Returns how often. */
  async #judgeLog(): Promise<number> {
    const judge = this.#judge;
    const scan = new MessageScan();
    const records: LogRecord[] = [];
    const places: (readonly [string, number, number])[] = [];
    const numberOf = (bytes: Buffer, start: number): number => {
      const from = messageBodyStart(bytes, start);
      scanMessage(bytes, from, bytes.length, scan);
      const number = Number(scan.bytes.toString("utf8", scan.bodyStart, scan.bodyEnd));
      const [mark, expected] = [messageLaneMark(bytes, start), this.#marks[number]];
      if (mark !== (expected === "" ? "base" : expected)) judge.wrongMark(mark, String(expected));
      return number;
    };
    const copy = mkdtempSync(join(tmpdir(), "popmesh-lane-log-"));
    try {
      cpSync(join(this.#parts.directory, "broker"), copy, { recursive: true });
      const clock = new NodeClock();
      const { log } = await openCommitLog({
        ...{ storage: new NodeStorage(copy, clock.bootId), clock, randomness: this.#randomness, log: silentLog },
        ...{ segmentBytes: 64 * 1024 * 1024, from: undefined },
        visit: (record) => records.push({ ...record, body: Buffer.from(record.body) }),
        onFailure: (error) => {
          throw error;
        },
      });
      await log.close();
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
    const names = {
      topics: topics.map((name) => `default/${name}`),
      groups: groups.map((name) => `default/${name}`),
      numberOf,
    };
    const follower = new LogFollower({ record: (index) => records[index] }, judge, names);
    for (const { position, nextPosition } of records) {
      follower.follow(position + 1);
      const place = follower.lastPlace;
      if (place !== undefined) places.push([names.topics[place.topic]!, place.queueId, place.offset]);
      follower.lastPlace = undefined;
      if (nextPosition < position) throw new Error("the log goes backwards");
    }
    for (const [group, name] of groups.entries())
      if (judge.hasLeft(group)) judge.leftAtBroker(`${name} has messages that are neither acked nor dead`);
    const link = new OperatorLink(Number(this.#parts.brokerAddress.split(":")[1]));
    try {
      const step = Math.max(1, Math.floor(places.length / explainedMax));
      for (let i = 0; i < places.length; i += step) {
        const [topic, queueId, offset] = places[i]!;
        const told = await link.call<{ groups: { group: string; rule: { number: number } | null; lane: string }[] }>(
          "lane.explain",
          { topic, queueId, offset },
        );
        for (const { group, rule, lane } of told.groups) {
          const index = names.groups.indexOf(group);
          if (index >= 0)
            judge.explains(names.topics.indexOf(topic), queueId, offset, index, { ruleNumber: rule?.number, lane });
        }
      }
    } finally {
      link.close();
    }
    return judge.counts.explained;
  }

  async #api(method: "GET" | "POST" | "DELETE", path: string, body?: string): Promise<string> {
    const headers = { "x-popmesh-client": "test", "content-type": "application/yaml" };
    const answer = await fetch(`${this.#parts.api}${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text;
  }
}
