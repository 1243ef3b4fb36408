import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import { BrokerLink } from "../../../control-plane/operation/broker-link.ts";
import { Code } from "../../../proto/code.ts";
import { silentLog } from "../../../proto/runtime/log.ts";
import { NodeClock } from "../../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../../proto/runtime/node-randomness.ts";
import { tooManyRequestsDelayMs } from "../../../sidecar/listener/local-answer.ts";
import { BrokerCoreUpstream } from "../../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import type { GroupRef, TopicRef, UpstreamReceive } from "../../../sidecar/upstream/upstream.ts";
import { freePorts } from "../../support/free-port.ts";
import { compiledRoot, RunningProcess } from "../../support/running-process.ts";
import { deadline } from "../../support/upstream-client.ts";
import { waitUntil } from "../../support/wait-until.ts";
import {
  type Contender,
  readNumber,
  type Server,
  type Session,
  type SessionEvents,
  stopHard,
  type Workload,
  writeNumber,
} from "./contender.ts";

/** A kind of message. */
export interface MessageKind {
  readonly name: string;
  /** Number of the v2 MessageType; the topic takes this type only. */
  readonly messageType: number;
  readonly properties?: (number: number) => apache.rocketmq.v2.ISystemProperties;
  /** Sent as a half message and committed at once; the send is confirmed when the commit is. */
  readonly isCommitted?: boolean;
  /**
   * One message in twenty is a canary's, by mark, tag and property; one consumer in four receives in lane canary. With this rule
   * on the topic, or with null the same without one.
   */
  readonly laneRule?: object | null;
  /** Instead of the usual backlog: for messages that wait for each other, or rest in the broker for a while. */
  readonly backlogMax?: number;
}

const { Message } = apache.rocketmq.v2;
const bodyMark = 0x62;
const { COMMIT: commitResolution } = apache.rocketmq.v2.TransactionResolution;
const { SOURCE_CLIENT: sourceClient } = apache.rocketmq.v2.TransactionSource;

/** How long each rests in the broker; part of the time to its acknowledgement. */
const timedAheadMs = 50;

export const messageKinds = {
  normal: { name: "normal", messageType: 1 },
  fifo1: {
    name: "FIFO, 1 group",
    messageType: 2,
    properties: () => ({ messageGroup: "g0000" }),
    // One at a time is in hand, and what waits is to be drained between the rounds.
    backlogMax: 64,
  },
  fifo1000: {
    name: "FIFO, 1 000 groups",
    messageType: 2,
    properties: (number) => ({ messageGroup: `g${(number % 1000).toString().padStart(4, "0")}` }),
  },
  transactional: { name: "transactional", messageType: 4, isCommitted: true },
  timed: {
    name: `timed, ${timedAheadMs} ms ahead`,
    messageType: 3,
    properties: () => {
      const dueMs = Date.now() + timedAheadMs;
      return { deliveryTimestamp: { seconds: Math.floor(dueMs / 1_000), nanos: (dueMs % 1_000) * 1_000_000 } };
    },
    // What rests in the broker until its time, at a hundred thousand a second.
    backlogMax: 8_192,
  },
} satisfies Record<string, MessageKind>;

const to = "canary";

/** The kinds of lane rules; each takes one message in twenty. The first is what the others are compared with. */
export const laneKinds: readonly (MessageKind & { readonly laneRule: object | null })[] = (
  [
    ["no rule", null],
    ["by lane mark", { to, lane: "canary" }],
    ["by tag", { to, tag: "canary" }],
    ["by property", { to, properties: { region: "us" } }],
    ["by SQL92", { to, sql: "amount > 40 AND region IN ('us')" }],
    ["by share, 5 %", { to, percent: 5 }],
  ] as const
).map(([name, clause]) => ({ name, messageType: 1, laneRule: clause === null ? null : { clauses: [clause] } }));

const canaryEvery = 20;

export interface PopmeshOptions {
  readonly flush: "sync" | "async";
  /** Further flags of the broker. */
  readonly argv?: readonly string[];
  /** Further flags of its Node.js, for example `--cpu-prof`. */
  readonly nodeArgv?: readonly string[];
  /** Compiled tree of another state of the broker, to compare with; the clients are of this one. */
  readonly build?: string;
}

const brokerName = "broker-a";
const batch = 32;
/** Receives that one consumer has open: while it acknowledges one batch the next is on its way. */
const receivesPerConsumer = 2;
const callMsMax = 30_000;
const waitMs = 5_000;
const invisibleMs = 60_000;

/** The broker core as its own process, through the driver that the sidecar uses, one connection per producer and consumer. */
export class Popmesh implements Contender {
  readonly name: string;
  readonly settings: string;
  readonly #options: PopmeshOptions;
  /** What a session sends; set before `open`. */
  kind: MessageKind = messageKinds.normal;

  constructor(options: PopmeshOptions = { flush: "sync" }) {
    this.#options = options;
    this.name = options.build === undefined ? "popmesh" : `popmesh of ${options.build}`;
    this.settings =
      options.flush === "sync"
        ? "--flush sync: send and ack confirmed after fdatasync (group commit)"
        : "--flush async: confirmed when written, fdatasync every 500 ms";
  }

  async start(directory: string): Promise<Server> {
    mkdirSync(directory, { recursive: true });
    const [port, adminPort] = await freePorts(2);
    const process_ = new RunningProcess(process.execPath, [
      ...(this.#options.nodeArgv ?? []),
      join(this.#options.build ?? compiledRoot, "broker-core/main.js"),
      ...["--listen", `127.0.0.1:${port}`, "--admin", `127.0.0.1:${adminPort}`, "--data-dir", directory],
      ...["--control-plane", "", "--group-start", "beginning", "--name", brokerName, "--log-level", "warn"],
      ...["--flush", this.#options.flush, ...(this.#options.argv ?? [])],
    ]);
    const admin = `http://127.0.0.1:${adminPort}`;
    const isReady = async () => {
      if (process_.hasExited) throw new Error(`the broker ended:\n${process_.output}`);
      return (await fetch(`${admin}/ready`).catch(() => undefined))?.status === 200;
    };
    await waitUntil("the broker is ready", isReady, 30_000);
    return {
      processes: [process_.child.pid!],
      open: (workload, events) => PopmeshSession.open(port!, workload, this.kind, events),
      counters: async () => {
        const text = await (await fetch(`${admin}/stats/prometheus`)).text();
        const read = (name: string) => Number(new RegExp(`^popmesh_broker_${name} (\\S+)`, "m").exec(text)?.[1]);
        return {
          logBytes: read("log_written_bytes_total"),
          allBytes: read("disk_written_bytes"),
          syncs: read("log_sync_seconds_count"),
          syncSeconds: read("log_sync_seconds_sum"),
          batches: read("log_batches_total"),
        };
      },
      stop: () => stopHard(process_),
    };
  }
}

/** A message that is sent again and again, with another id. */
interface Template {
  readonly bytes: Buffer;
  readonly idAt: number;
}

class PopmeshSession implements Session {
  readonly #kind: MessageKind;
  readonly #events: SessionEvents;
  readonly #topic: TopicRef;
  readonly #group: GroupRef;
  readonly #bodyBytes: number;
  readonly #template: Template;
  readonly #canary: Template;
  readonly #producers: BrokerCoreUpstream[];
  readonly #consumers: BrokerCoreUpstream[];
  #isStopped = false;

  static async open(
    port: number,
    workload: Workload,
    kind: MessageKind,
    events: SessionEvents,
  ): Promise<PopmeshSession> {
    const session = new PopmeshSession(port, workload, kind, events);
    const upstreams = [...session.#producers, ...session.#consumers];
    await waitUntil("the connections stand", () => upstreams.every((upstream) => upstream.isReady), 10_000);
    if (kind.laneRule !== undefined && kind.laneRule !== null) await session.#setRule(port, kind.laneRule);
    session.#consumers.forEach((consumer, i) => {
      const lane = kind.laneRule !== undefined && i % 4 === 3 ? "canary" : "base";
      for (let receive = 0; receive < receivesPerConsumer; receive++) session.#receive(consumer, `consumer-${i}`, lane);
    });
    return session;
  }

  private constructor(port: number, workload: Workload, kind: MessageKind, events: SessionEvents) {
    this.#kind = kind;
    this.#events = events;
    this.#bodyBytes = workload.bodyBytes;
    this.#topic = {
      name: `default/${workload.name}`,
      incarnation: 1,
      messageTypes: 1 << kind.messageType,
      queueCount: workload.queues,
    };
    const backoff = { kind: "list", delaysMs: [1_000] } as const;
    this.#group = { name: `default/${workload.name}`, generation: 1, attemptsMax: 16, backoff, inflightMax: 0 };
    this.#template = template(this.#encode(0, false));
    this.#canary = template(this.#encode(0, true));
    const connect = () =>
      new BrokerCoreUpstream({
        ...{ brokerName, host: "127.0.0.1", port, log: silentLog },
        hello: { sidecarId: "bench", lane: "base" },
        clock: new NodeClock(),
        randomness: new NodeRandomness(),
        limits: { sendsInFlightMax: 1024, pendingMax: 65_536, pendingBytesMax: 512 * 1024 * 1024 },
      });
    this.#producers = Array.from({ length: workload.producers }, connect);
    this.#consumers = Array.from({ length: workload.consumers }, connect);
  }

  /** What the broker refuses for now is sent again after the time that the sidecar has its clients wait for. */
  send(producer: number, number: number, confirmed: (error?: Error) => void): void {
    const isCanary = this.#kind.laneRule !== undefined && number % canaryEvery === 0;
    const message = this.#message(number, isCanary);
    const laneMark = isCanary ? "canary" : "";
    const request = { topic: this.#topic, laneMark, bornHost: "app-1", messages: [message] };
    this.#producers[producer]!.send(request, deadline(callMsMax), (answer) => {
      if (!answer.ok && answer.code === Code.TooManyRequests) {
        this.#events.refused();
        setTimeout(() => this.send(producer, number, confirmed), tooManyRequestsDelayMs);
      } else if (answer.ok && this.#kind.isCommitted === true) this.#commit(producer, answer.transactionId, confirmed);
      else confirmed(answer.ok ? undefined : new Error(`send: ${answer.code} ${answer.message}`));
    });
  }

  #commit(producer: number, transactionId: string, confirmed: (error?: Error) => void): void {
    const end = { topic: this.#topic.name, transactionId, resolution: commitResolution, source: sourceClient };
    this.#producers[producer]!.endTransaction(end, deadline(callMsMax), (answer) =>
      confirmed(answer.ok ? undefined : new Error(`commit: ${answer.code} ${answer.message}`)),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#producers, ...this.#consumers].map((upstream) => upstream.close(1_000)));
  }

  async #setRule(port: number, rule: object): Promise<void> {
    const link = new BrokerLink({ brokerName, host: "127.0.0.1", port }, "bench", new NodeClock(), () => {});
    const { name: topic, incarnation, messageTypes, queueCount } = this.#topic;
    const opening = { incarnation, messageTypes, queueCount };
    try {
      await link.call("lane.rule", { topic, name: "bench", number: 1, rule, opening }, callMsMax);
    } finally {
      link.close();
    }
  }

  #encode(number: number, isCanary: boolean): Buffer {
    return Buffer.from(
      Message.encode({
        topic: { name: "bench" },
        userProperties: { region: isCanary ? "us" : "eu", amount: "42" },
        systemProperties: {
          tag: isCanary ? "canary" : "created",
          // A share is counted by keys: by ids here.
          ...(this.#kind.laneRule === undefined ? { keys: ["order-1"] } : {}),
          messageId: "0".repeat(idDigits),
          messageType: this.#kind.messageType,
          bornHost: "app-1",
          ...this.#kind.properties?.(number),
        },
        body: Buffer.alloc(this.#bodyBytes, bodyMark),
      }).finish(),
    );
  }

  /** Encoded anew only where the kind makes each message another one: the client's cost is not what is measured. */
  #message(number: number, isCanary: boolean): Buffer {
    const { bytes, idAt } = isCanary ? this.#canary : this.#template;
    const message = this.#kind.properties === undefined ? Buffer.from(bytes) : this.#encode(number, isCanary);
    message.write(number.toString(16).padStart(16, "0"), idAt, "latin1");
    writeNumber(message, number, message.length - this.#bodyBytes);
    return message;
  }

  #receive(consumer: BrokerCoreUpstream, clientId: string, lane: string): void {
    if (this.#isStopped) return;
    const request: UpstreamReceive = {
      ...{ topic: this.#topic, group: this.#group, batch, invisibleMs, waitMs, filterType: 1, filter: "*" },
      ...{ clientId, attemptId: "", lane, bytesMax: 0 },
    };
    consumer.receive(request, deadline(waitMs + callMsMax), (answer) => {
      if (!answer.ok) {
        if (!this.#isStopped) this.#events.failed(new Error(`receive: ${answer.code} ${answer.message}`));
        return;
      }
      for (const { message, receipt } of answer.deliveries) {
        this.#ack(consumer, receipt, readNumber(message, message.length - this.#bodyBytes));
      }
      this.#receive(consumer, clientId, lane);
    });
  }

  #ack(consumer: BrokerCoreUpstream, receipt: string, number: number): void {
    consumer.ack({ group: this.#group, receipts: [receipt] }, deadline(callMsMax), (answer) => {
      const code = answer.ok ? answer.results[0]?.code : answer.code;
      if (code === Code.Ok) this.#events.acked(number);
      else this.#events.failed(new Error(`ack: ${code} ${answer.ok ? answer.results[0]?.message : answer.message}`));
    });
  }
}

/** As long as the id of an official SDK. */
const idDigits = 34;

function template(bytes: Buffer): Template {
  return { bytes, idAt: bytes.indexOf("0".repeat(idDigits)) };
}
