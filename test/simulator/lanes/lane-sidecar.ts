import { MessageScan, scanMessage } from "../../../proto/codec/message-scan.ts";
import { LaneMarks } from "../../../sidecar/lane/lane-marks.ts";
import { TraceLanes } from "../../../sidecar/lane/trace-lanes.ts";
import type { ClientSession } from "../../../sidecar/listener/client-session.ts";
import { LaneConsumers } from "../../../sidecar/listener/lane-consumers.ts";
import { presenceLeaseMs } from "../../../sidecar/upstream/broker-core/consumer-announcer.ts";
import type { LaneConsumer } from "../../../sidecar/upstream/upstream.ts";
import type { LaneBroker } from "./lane-broker.ts";
import type { VirtualTime } from "./virtual-time.ts";

const scans: MessageScan[] = [];

/** A sidecar of a lane: the real marking, memory of traces, and list of who consumes here; no ports and no frames. */
export class LaneSidecar {
  readonly lane: string;
  readonly number: number;
  /** How often it was started; what it knew before is gone. */
  run = 0;
  isUp = false;
  /** Its consumers' calls end with it. */
  onDeath: () => void = () => {};
  readonly #time: VirtualTime;
  readonly #broker: LaneBroker;
  #marks!: LaneMarks;
  #consumers!: LaneConsumers;
  #said: readonly LaneConsumer[] = [];
  /** Undefined: the broker is gone, and it is not connected again yet. */
  #connection: object | undefined = {};

  constructor(time: VirtualTime, broker: LaneBroker, lane: string, number: number) {
    this.#time = time;
    this.#broker = broker;
    this.lane = lane;
    this.number = number;
    this.start();
  }

  start(): void {
    if (this.isUp) return;
    this.isUp = true;
    const run = ++this.run;
    this.#marks = new LaneMarks(this.lane, new TraceLanes(this.#time.clock));
    this.#consumers = new LaneConsumers();
    this.#said = [];
    this.#connection = {};
    this.#consumers.onChange = (consumers) => {
      this.#said = consumers;
      this.#time.after(1, () => this.#say(run));
    };
    if (this.lane !== "base") this.#renew(run);
  }

  kill(): void {
    if (!this.isUp) return;
    this.isUp = false;
    if (this.#connection !== undefined) this.#broker.forget(this.#connection);
    this.onDeath();
  }

  /** The broker died, and all connections with it. */
  disconnect(): void {
    this.#connection = undefined;
  }

  /** The broker is back, on a new connection. */
  reconnect(): void {
    this.#connection = {};
    if (this.isUp && this.#said.length > 0) this.#say(this.run);
  }

  /** The mark of messages that are sent together. Throws when they are refused. */
  markOf(messages: readonly Buffer[]): string {
    for (const [i, bytes] of messages.entries()) {
      const scan = (scans[i] ??= new MessageScan());
      scanMessage(bytes, 0, bytes.length, scan);
    }
    const mark = this.#marks.of(scans, messages.length);
    if (!mark.ok) throw new Error(mark.message);
    return mark.lane;
  }

  /** A marked message goes to the application. */
  delivered(bytes: Buffer, mark: string): void {
    const scan = (scans[0] ??= new MessageScan());
    scanMessage(bytes, 0, bytes.length, scan);
    this.#marks.noteDelivered(scan, mark);
  }

  received(session: ClientSession, group: string, topic: string): void {
    this.#consumers.noteReceived(session, group, topic);
  }

  left(session: ClientSession): void {
    this.#consumers.forget(session);
  }

  #say(run: number): void {
    if (!this.isUp || run !== this.run || this.lane === "base" || this.#connection === undefined) return;
    this.#broker.say(this.#connection, this.lane, this.#said, presenceLeaseMs);
  }

  #renew(run: number): void {
    this.#time.after(presenceLeaseMs / 3, () => {
      if (!this.isUp || run !== this.run) return;
      if (this.#said.length > 0) this.#say(run);
      this.#renew(run);
    });
  }
}
