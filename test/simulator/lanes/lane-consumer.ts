import { ChangeKind } from "../../../broker-core/broker-port.ts";
import { Code } from "../../../proto/code.ts";
import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import type { ClientSession } from "../../../sidecar/listener/client-session.ts";
import type { Batch, Delivered, LaneBroker } from "./lane-broker.ts";
import type { LaneJudge } from "./lane-judge.ts";
import { groupNames, topicNames } from "./lane-schedule.ts";
import type { LaneSidecar } from "./lane-sidecar.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface ConsumerPlace {
  readonly topic: number;
  readonly group: number;
  readonly sidecar: LaneSidecar;
  /** The tag that its group wants; "": everything. */
  readonly tag: string;
}

export interface ConsumerWorld {
  readonly time: VirtualTime;
  readonly broker: LaneBroker;
  readonly judge: LaneJudge;
  readonly randomness: Randomness;
  /** Nothing fails any more. */
  isDraining: boolean;
  readonly watch: { handled(message: number): void; cut(message: number): void } | undefined;
  /** A message was handled that carries a trace: what the application sends because of it. */
  onHandled(delivered: Delivered, sidecar: LaneSidecar): void;
}

const invisibleMs = 1_500;
const waitMs = 400;
const batchMax = 32;
/** Of the application, when its sidecar or the broker is away. */
const retryMs = 25;
/** A message that no attempt brings through is put aside at this one. */
const attemptsOfPoison = 3;

let consumers = 0;

/** An application that consumes: asks, handles a batch, settles each message, and asks again. */
export class ScheduledConsumer {
  readonly place: ConsumerPlace;
  isAlive = false;
  readonly #world: ConsumerWorld;
  readonly #clientId = `c${++consumers}`;
  #life = 0;
  #session = {} as ClientSession;
  #inHand: readonly Delivered[] = [];
  #cancel: () => void = () => {};

  constructor(world: ConsumerWorld, place: ConsumerPlace) {
    this.#world = world;
    this.place = place;
  }

  start(): void {
    if (this.isAlive) return;
    this.isAlive = true;
    this.#life++;
    this.#session = { isKept: true } as ClientSession;
    const life = this.#life;
    this.#world.time.after(this.#world.randomness.fraction() * 20, () => this.#ask(life));
  }

  /** SIGKILL: what it holds comes again when its lease is over. */
  kill(): void {
    if (!this.isAlive) return;
    const { time, randomness } = this.#world;
    const { sidecar } = this.place;
    this.isAlive = false;
    this.#cancel();
    this.#cutInHand();
    this.#inHand = [];
    // Its sidecar sees that the stream ended; at once, or late where a machine went.
    const session = this.#session;
    const run = sidecar.run;
    time.after(randomness.fraction() < 0.8 ? 1 : randomIndex(randomness, 4_000), () => {
      if (sidecar.isUp && sidecar.run === run) sidecar.left(session);
    });
  }

  /** Ends in order: hands back what it holds; who is watched ends it first. */
  stop(): void {
    if (!this.isAlive) return;
    const { broker, judge, watch } = this.#world;
    const { group, sidecar } = this.place;
    this.isAlive = false;
    this.#cancel();
    if (broker.state === undefined || !sidecar.isUp) this.#cutInHand();
    else if (watch !== undefined) this.#ack(this.#inHand);
    else if (this.#inHand.length > 0) {
      const changes = this.#inHand.map(({ receipt }) => ({ receipt, kind: ChangeKind.HandBack, invisibleMs: 0 }));
      for (const { message, hold } of this.#inHand) judge.nacked(message, group, hold);
      broker.change(group, changes);
    }
    this.#inHand = [];
    if (sidecar.isUp) sidecar.left(this.#session);
  }

  /** Its sidecar died: its open receive too, and the next process knows it anew. */
  sidecarDied(): void {
    this.#cancel();
    if (!this.isAlive) return;
    this.#session = { isKept: true } as ClientSession;
    if (this.#inHand.length > 0) return;
    const life = ++this.#life;
    this.#later(life);
  }

  brokerDied(): void {
    if (!this.isAlive || this.#inHand.length > 0) return;
    const life = ++this.#life;
    this.#later(life);
  }

  /** Nobody settles what it holds. */
  #cutInHand(): void {
    const { judge, watch } = this.#world;
    const { group } = this.place;
    for (const { message, hold } of this.#inHand) {
      judge.cut(message, group, hold);
      if (group === 0) watch?.cut(message);
    }
  }

  #later(life: number): void {
    this.#world.time.after(retryMs, () => this.#ask(life));
  }

  #ask(life: number): void {
    if (!this.isAlive || life !== this.#life) return;
    const { broker, time } = this.#world;
    const { sidecar, topic, group, tag } = this.place;
    if (broker.state === undefined || !sidecar.isUp) {
      this.#later(life);
      return;
    }
    const run = sidecar.run;
    const askedMs = time.nowMs;
    const call = {
      ...{ topicId: broker.topicIds[topic]!, groupId: broker.groupIds[group]!, batch: batchMax, invisibleMs, waitMs },
      ...{
        filterType: 1,
        filter: tag === "" ? "*" : tag,
        clientId: this.#clientId,
        attemptId: "",
        lane: sidecar.lane,
        bytesMax: 0,
      },
    };
    const { cancel } = broker.receive(call, (batch) => {
      // An answer that its sidecar did not live to see was never here.
      if (!this.isAlive || life !== this.#life || !sidecar.isUp || sidecar.run !== run) return;
      sidecar.received(this.#session, groupNames[group]!, topicNames[topic]!);
      if (batch === undefined || batch.deliveries.length === 0)
        time.after(askedMs === time.nowMs ? retryMs : 0, () => this.#ask(life));
      else this.#handle(batch, life);
    });
    this.#cancel = cancel;
  }

  #handle({ deliveries, position, grantedMs }: Batch, life: number): void {
    const { time, judge, randomness, isDraining, watch } = this.#world;
    const { sidecar, group } = this.place;
    const lane = sidecar.lane;
    this.#inHand = deliveries;
    for (const { message, hold, bytes, mark } of deliveries) {
      judge.handled(message, group, lane, position, time.nowMs, grantedMs + invisibleMs, hold);
      if (bytes !== undefined) sidecar.delivered(bytes, mark);
    }
    for (const delivered of deliveries) {
      this.#world.onHandled(delivered, sidecar);
    }
    if (group === 0 && watch !== undefined) for (const { message } of deliveries) watch.handled(message);
    const isSlow = !isDraining && watch === undefined && randomness.fraction() < 0.01;
    const tookMs = isSlow ? invisibleMs + randomIndex(randomness, 300) : 2 + randomIndex(randomness, 40);
    time.after(tookMs, () => this.#settle(deliveries, life, 60));
  }

  #settle(deliveries: readonly Delivered[], life: number, tries: number): void {
    if (!this.isAlive || life !== this.#life) return;
    const { broker, time, randomness, isDraining, watch } = this.#world;
    const { sidecar } = this.place;
    if (broker.state === undefined || !sidecar.isUp) {
      if (tries > 0) {
        time.after(retryMs, () => this.#settle(deliveries, life, tries - 1));
        return;
      }
      this.#cutInHand();
      this.#inHand = [];
      this.#ask(life);
      return;
    }
    this.#inHand = [];
    const [acks, nacks, forwards] = [[] as Delivered[], [] as Delivered[], [] as Delivered[]];
    for (const delivered of deliveries) {
      // The same messages fail each time they come; others now and then.
      const isPoison = delivered.message % 401 === 7;
      const fails = watch === undefined && (isPoison || (!isDraining && randomness.fraction() < 0.02));
      if (!fails) acks.push(delivered);
      else (isPoison && delivered.attempt >= attemptsOfPoison ? forwards : nacks).push(delivered);
    }
    this.#ack(acks);
    this.#nack(nacks);
    this.#forward(forwards);
    this.#ask(life);
  }

  #ack(deliveries: readonly Delivered[]): void {
    if (deliveries.length === 0) return;
    const { broker, judge, time } = this.#world;
    const { group } = this.place;
    for (const { message, hold } of deliveries) judge.ackAsked(message, group, hold);
    const settled = broker.ack(
      group,
      deliveries.map(({ receipt }) => receipt),
    );
    if (!settled.ok) throw new Error(settled.message);
    const ok: Delivered[] = [];
    for (const [i, { code, message: text }] of settled.results.entries()) {
      const delivered = deliveries[i]!;
      if (code === Code.Ok) ok.push(delivered);
      else judge.refused(delivered.message, group, delivered.hold, time.nowMs, text);
    }
    broker.log.whenDurable(settled.position, () => {
      for (const { message, hold } of ok) judge.acked(message, group, hold);
    });
  }

  #nack(deliveries: readonly Delivered[]): void {
    if (deliveries.length === 0) return;
    const { broker, judge, randomness, time } = this.#world;
    const { group } = this.place;
    const delayMs = randomIndex(randomness, 200);
    const changes = deliveries.map(({ receipt }) => ({ receipt, kind: ChangeKind.Renew, invisibleMs: delayMs }));
    // Told before: what comes back at once is handed out from within the call.
    for (const { message, hold } of deliveries) judge.nacked(message, group, hold);
    const settled = broker.change(group, changes);
    if (!settled.ok) throw new Error(settled.message);
    for (const [i, { code, message: text }] of settled.results.entries()) {
      if (code !== Code.Ok) judge.refused(deliveries[i]!.message, group, deliveries[i]!.hold, time.nowMs, text);
    }
  }

  #forward(deliveries: readonly Delivered[]): void {
    if (deliveries.length === 0) return;
    const { broker, judge, time } = this.#world;
    const { group } = this.place;
    for (const { message, hold } of deliveries) judge.forwarded(message, group, hold);
    const settled = broker.forward(
      group,
      deliveries.map(({ receipt }) => receipt),
    );
    if (!settled.ok) throw new Error(settled.message);
    for (const [i, { code, message: text }] of settled.results.entries()) {
      if (code !== Code.Ok) judge.refused(deliveries[i]!.message, group, deliveries[i]!.hold, time.nowMs, text);
    }
  }
}
