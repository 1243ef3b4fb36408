import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import type { HandOut } from "../../../broker-core/broker-port.ts";
import type { BrokerState } from "../../../broker-core/broker-state.ts";
import { cpuUs, type LaneRow, type StepFigures } from "./lane-rows.ts";
import { RingLog } from "./ring-log.ts";

const sendsPerTurn = 1_024;
/** One message in so many is of the canary, by whatever the rule looks at. */
const canaryEvery = 20;
const bodyBytes = 100;
/** More than the time after which a lane spills by default. */
const spillMs = 10_000;
const identity = { brokerName: "bench", receiptKey: Buffer.alloc(32, 7), runId: 1, bootId: "bench" };
const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
const group = { name: "bench/group", generation: 1, attemptsMax: 0, inflightMax: 1e9, backoff };

const { Message } = apache.rocketmq.v2;

function message(i: number, isOrdered: boolean): Buffer {
  const isCanary = i % canaryEvery === 0;
  return Buffer.from(
    Message.encode({
      topic: { name: "bench" },
      userProperties: { amount: "120", region: isCanary ? "us" : "eu" },
      systemProperties: {
        tag: isCanary ? "canary" : "created",
        messageId: i.toString(16).padStart(34, "0"),
        messageType: isOrdered ? 2 : 1,
        bornHost: "app-1",
        ...(isOrdered ? { messageGroup: `group-${i}` } : {}),
      },
      body: Buffer.alloc(bodyBytes, "b"),
    }).finish(),
  );
}

/** The state machine of a compiled tree under one row's load: all that is sent is received and acknowledged. */
export class StateLoad {
  readonly #row: LaneRow;
  readonly #log = new RingLog();
  readonly #state: BrokerState;
  readonly #messages: Buffer[];
  readonly #topicId: number;
  readonly #groupId: number;
  readonly #receipts: Buffer[] = [];
  #handedOut = 0;
  #monotonicMs = 1_000;

  static async start(build: string, row: LaneRow): Promise<StateLoad> {
    const module = (await import(join(build, "broker-core/broker-state.js"))) as { BrokerState: typeof BrokerState };
    return new StateLoad(module.BrokerState, row);
  }

  private constructor(State: typeof BrokerState, row: LaneRow) {
    this.#row = row;
    const isOrdered = row.isOrdered === true;
    this.#messages = Array.from({ length: sendsPerTurn }, (_, i) => message(i, isOrdered));
    const sink = {
      receiveAnswered: (_: number, handOut: HandOut) => this.#take(handOut),
      receiveRefused: (_: number, code: number, text: string) => {
        throw new Error(`${code}: ${text}`);
      },
    };
    this.#state = new State(this.#log, sink, { ...identity, start: this.#now(), groupStart: "beginning" });
    this.#state.goLive(this.#now());
    const open = (name: string): number => {
      const opening = { name, incarnation: 1, messageTypes: isOrdered ? 4 : 2, queueCount: 1 };
      const opened = this.#state.openTopic(opening, this.#now());
      if (!opened.ok) throw new Error(opened.message);
      return opened.id;
    };
    this.#topicId = open("bench/messages");
    open("bench/other");
    const opened = this.#state.openGroup(group, this.#now());
    if (!opened.ok) throw new Error(opened.message);
    this.#groupId = opened.id;
    if (row.rule === undefined) return;
    const topic = row.isOnOtherTopic === true ? "bench/other" : "bench/messages";
    const order = { topic, name: "bench", number: 1, rule: row.rule };
    const operated = this.#state.operate("lane.rule", order, this.#now());
    if (operated instanceof Promise || !operated.ok) throw new Error(`lane.rule: ${JSON.stringify(operated)}`);
    // A lane in which nobody receives is spilled by then.
    this.#receiveAll();
    this.#monotonicMs += spillMs;
    this.#state.advance(this.#now());
  }

  /** CPU microseconds per message over `turns` turns of sends, receives and acks. */
  run(turns: number): StepFigures {
    const us = { send: 0, receive: 0, ack: 0 };
    const messages = turns * sendsPerTurn;
    for (let turn = 0; turn < turns; turn++) {
      us.send += this.#measured(() => this.#send());
      this.#log.sync();
      this.#state.onDurable(this.#log.durablePosition, this.#now());
      us.receive += this.#measured(() => this.#receive());
      us.ack += this.#measured(() => this.#ack());
      this.#log.sync();
      this.#monotonicMs += 1;
      this.#state.advance(this.#now());
    }
    return { send: us.send / messages, receive: us.receive / messages, ack: us.ack / messages };
  }

  #measured(step: () => void): number {
    const from = cpuUs();
    step();
    return cpuUs() - from;
  }

  #send(): void {
    for (let i = 0; i < sendsPerTurn; i++) {
      const laneMark = i % canaryEvery === 0 ? "canary" : "";
      const call = { topicId: this.#topicId, laneMark, bornHost: "10.0.0.1", messages: [this.#messages[i]!] };
      const sent = this.#state.send(call, this.#now());
      if (!sent.ok) throw new Error(sent.message);
    }
  }

  #receive(): void {
    this.#receipts.length = 0;
    this.#receiveAll();
    if (this.#receipts.length !== sendsPerTurn) {
      throw new Error(`${this.#row.name}: ${this.#receipts.length} of ${sendsPerTurn} messages were received`);
    }
  }

  #receiveAll(): void {
    const call = { topicId: this.#topicId, groupId: this.#groupId, batch: 32, invisibleMs: 60_000, waitMs: 0 };
    const consumer = { filterType: 1, filter: "*", clientId: "client", attemptId: "", bytesMax: 0 };
    for (const lane of this.#row.lanes ?? [""]) {
      do this.#state.receive({ ...call, ...consumer, lane }, 1, this.#now());
      while (this.#handedOut > 0);
    }
  }

  #take(handOut: HandOut): void {
    this.#handedOut = handOut.count;
    for (let i = 0; i < handOut.count; i++) {
      if (!handOut.load(i)) throw new Error("a message could not be read");
      this.#receipts.push(Buffer.from(handOut.delivery.receipt));
    }
  }

  #ack(): void {
    for (const receipt of this.#receipts) {
      const settled = this.#state.ack(this.#groupId, [receipt], this.#now());
      if (!settled.ok || settled.results[0]!.message !== "") throw new Error("an ack was refused");
    }
  }

  #now() {
    return { monotonicMs: this.#monotonicMs, wallMs: 1_700_000_000_000 + this.#monotonicMs };
  }
}
