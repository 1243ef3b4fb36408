import { connect, type Socket } from "node:net";
import { popmesh } from "#codec/popmesh-v1";
import { BrokerState } from "../../broker-core/broker-state.ts";
import { nothingIsCold, type PlaceReader } from "../../broker-core/service/cold-lane.ts";
import { FrameServer } from "../../broker-core/service/frame-server.ts";
import type { LanePresence } from "../../broker-core/service/lane-presences.ts";
import { ProducerDirectory } from "../../broker-core/service/producer-directory.ts";
import { ReceiveTable } from "../../broker-core/service/receive-table.ts";
import { defaultWindows, type Windows } from "../../broker-core/service/window.ts";
import { type CheckPolicy, defaultCheckPolicy } from "../../broker-core/transaction/transaction-coordinator.ts";
import { answerBit, FrameKind } from "../../proto/frame/frame.ts";
import { FrameParser } from "../../proto/frame/frame-parser.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { MetricRegistry } from "../../proto/runtime/metric.ts";
import { receiptKey } from "./broker-fixture.ts";
import { ManualClock } from "./manual-clock.ts";
import { MemoryLog } from "./memory-log.ts";
import { waitUntil } from "./wait-until.ts";

export interface RawFrame {
  readonly kind: number;
  readonly status: number;
  readonly correlation: number;
  readonly body: Buffer;
}

/** The frame server with the real state machine, over a log and a clock in the hands of the test, and real sockets. */
export class ServiceFixture {
  readonly log = new MemoryLog();
  readonly clock = new ManualClock();
  readonly metrics = new MetricRegistry();
  readonly state: BrokerState;
  readonly server: FrameServer;
  port = 0;
  /** What the state machine is told of who is there in lanes. */
  readonly presences: { readonly presence: LanePresence; readonly isThere: boolean }[] = [];
  readonly #clients: RawSidecar[] = [];

  constructor(
    windows: Partial<Windows> = {},
    checkPolicy: CheckPolicy = defaultCheckPolicy,
    readAhead: PlaceReader = nothingIsCold,
  ) {
    const receives = new ReceiveTable();
    const producers = new ProducerDirectory();
    const { clock } = this;
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    this.state = new BrokerState(this.log, receives, {
      ...{ brokerName: "broker-a", receiptKey, runId: 7, bootId: clock.bootId, start: now, groupStart: "beginning" },
      ...{ orphans: producers, checkPolicy },
    });
    this.state.goLive(now);
    const tell = this.state.lanePresence.bind(this.state);
    this.state.lanePresence = (group, topic, lane, isThere, at) => {
      this.presences.push({ presence: { lane, group, topic }, isThere });
      tell(group, topic, lane, isThere, at);
    };
    this.server = new FrameServer(receives, {
      ...{ port: this.state, log: this.log, clock, diagnostics: silentLog, metrics: this.metrics },
      ...{ brokerName: "broker-a", runId: 7, windows: { ...defaultWindows, ...windows }, producers, readAhead },
    });
  }

  static async start(
    windows: Partial<Windows> = {},
    checkPolicy?: CheckPolicy,
    readAhead?: PlaceReader,
  ): Promise<ServiceFixture> {
    const fixture = new ServiceFixture(windows, checkPolicy, readAhead);
    fixture.port = await fixture.server.listen({ host: "127.0.0.1", port: 0 });
    return fixture;
  }

  /** A sidecar that has said nothing yet. */
  connect(): RawSidecar {
    const client = new RawSidecar(this.port);
    this.#clients.push(client);
    return client;
  }

  /** A sidecar that was welcomed. */
  async welcomed(): Promise<RawSidecar> {
    const client = this.connect();
    await client.hello();
    return client;
  }

  stop(): void {
    for (const client of this.#clients) client.close();
    this.server.close("the test is over");
  }

  metric(name: string): number {
    return Number(new RegExp(`^${name} (.*)$`, "m").exec(this.metrics.prometheusText())?.[1]);
  }
}

/** A sidecar made of a socket: it says exactly what a test wants, right or wrong. */
export class RawSidecar {
  readonly socket: Socket;
  readonly frames: RawFrame[] = [];
  isClosed = false;
  #nextCorrelation = 1;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    const parser = new FrameParser({
      onFrame: (kind, status, correlation, bytes, start, end) => {
        this.frames.push({ kind, status, correlation, body: Buffer.from(bytes.subarray(start, end)) });
      },
    });
    this.socket.on("data", (chunk: Buffer) => parser.push(chunk));
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.isClosed = true;
    });
  }

  /** Sends a frame; returns its correlation id. */
  say(kind: number, body: Uint8Array = new Uint8Array(0), correlation = this.#nextCorrelation++): number {
    const frame = Buffer.alloc(12 + body.length);
    frame.writeUInt32BE(8 + body.length, 0);
    frame[4] = kind;
    frame.writeUInt32BE(correlation, 8);
    frame.set(body, 12);
    this.socket.write(frame);
    return correlation;
  }

  answerTo(correlation: number): RawFrame | undefined {
    return this.frames.find((frame) => frame.correlation === correlation && (frame.kind & answerBit) !== 0);
  }

  async answered(correlation: number): Promise<RawFrame> {
    await waitUntil(`an answer to ${correlation}`, () => this.answerTo(correlation) !== undefined, 5_000);
    return this.answerTo(correlation)!;
  }

  async ask(kind: number, body?: Uint8Array): Promise<RawFrame> {
    return this.answered(this.say(kind, body));
  }

  hello(parts: popmesh.v1.IHello = {}): Promise<RawFrame> {
    const hello = { versionMin: 1, versionMax: 1, sidecarId: "raw", lane: "base", ...parts };
    return this.ask(FrameKind.Hello, popmesh.v1.Hello.encode(hello).finish());
  }

  /** Everything this sidecar has said until now was heard: frames are served in order. */
  async heard(): Promise<void> {
    await this.ask(FrameKind.Ping);
  }

  async closed(): Promise<void> {
    await waitUntil("the connection is closed", () => this.isClosed, 5_000);
  }

  close(): void {
    this.socket.destroy();
  }
}

export function failureText(frame: RawFrame): string {
  return popmesh.v1.Failure.decode(frame.body).message;
}
