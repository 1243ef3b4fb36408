import assert from "node:assert/strict";
import {
  withBrokerAdded,
  withBrokerDraining,
  withBrokerOpen,
  withGroupsGone,
} from "../../control-plane/catalog/topic-placement.ts";
import type { TopicRecord } from "../../control-plane/resource/topic.ts";
import { buildTopicRoute } from "../../control-plane/snapshot/build-resource.ts";
import { Code } from "../../proto/code.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { SettledGroups } from "../../sidecar/route/settled-groups.ts";
import type { TopicRoute } from "../../sidecar/route/topic-route.ts";
import { decodeTopicRoute } from "../../sidecar/xds/topic-route-resource.ts";
import { BrokerFixture, messageBytes } from "./broker-fixture.ts";
import { byShare } from "./lane-fixture.ts";

const topicName = "ns/orders";
const consumerGroups = ["ns/billing", "ns/audit"];
const lanes = ["", "canary"];
const fifo = 1 << 2;
const brokerNames = ["a", "b", "c", "d"];
const sidecarCount = 3;
const patienceMs = 5_000;

/** What happened in a history, so that a test can see that it was no idle one. */
export interface MovingReport {
  sent: number;
  /** A broker said that another one takes the message, and that one did. */
  moved: number;
  /** Nobody took it: it was sent again later. */
  refused: number;
  handled: number;
  /** The same in a lane. */
  inLane: number;
  added: number;
  drained: number;
  undrained: number;
  rules: number;
  kills: number;
}

interface Broker {
  readonly f: BrokerFixture;
  readonly topicId: number;
  readonly groupIds: readonly number[];
  /** Number of the newest rule that it has; rules reach brokers at different times. */
  rule: number;
  isToldToDrain: boolean;
  /** By which it shall leave; undefined: it is not drained. */
  drain: number | undefined;
}

interface Held {
  readonly broker: Broker;
  readonly groupIndex: number;
  readonly messageGroup: string;
  readonly sequence: number;
  readonly receipt: Buffer;
  readonly lane: string;
}

/**
 * Several brokers that hold a FIFO topic, as real broker states, under one random history: sidecars that learn of a new route late send
 * to where the real decisions say; brokers are added, drained and taken back; lane rules come, grow and go, on each broker at another
 * position of its log; a canary lane comes and goes; brokers are killed. Whatever happens, each consumer group is handed the messages
 * of a message group one after the other, in the order in which they were sent, and in the end all of them.
 */
export class MovingGroups {
  readonly report: MovingReport = {
    ...{ sent: 0, moved: 0, refused: 0, handled: 0, inLane: 0 },
    ...{ added: 0, drained: 0, undrained: 0, rules: 0, kills: 0 },
  };
  readonly #chance: SeededRandomness;
  readonly #brokers = new Map<string, Broker>();
  readonly #sidecars: { route: TopicRoute; readonly settled: SettledGroups }[] = [];
  readonly #messageGroups: readonly string[];
  /** Messages of a message group that were taken. */
  readonly #sent = new Map<string, number>();
  /** Messages of a message group that a consumer group has acked, by "consumer group/message group". */
  readonly #handled = new Map<string, number>();
  readonly #held: Held[] = [];
  readonly #rules: (object | null)[] = [];
  #topic: TopicRecord = {
    ...{ namespace: "ns", name: "orders", type: "fifo", queues: 2, state: "active", incarnation: 1, generation: 1 },
    ...{ placement: ["a", "b"], createdMs: 0, createdBy: "test" },
  };
  #spreadNumber = 0;
  #share = 0;
  #isCanaryUp = false;

  constructor(seed: number) {
    this.#chance = new SeededRandomness(seed);
    this.#messageGroups = Array.from({ length: 12 }, (_, i) => `account-${i}`);
    for (const name of brokerNames) this.#brokers.set(name, this.#start(name));
    for (let i = 0; i < sidecarCount; i++) this.#sidecars.push({ route: this.#route(), settled: new SettledGroups() });
  }

  /** The history, then its end: every message is handled. */
  run(steps: number): void {
    for (let i = 0; i < steps; i++) this.#step();
    this.#end();
  }

  #start(name: string): Broker {
    const f = new BrokerFixture({ brokerName: name, groupStart: "beginning" });
    const topicId = f.topic(topicName, { messageTypes: fifo, queueCount: this.#topic.queues });
    const groupIds = consumerGroups.map((group) => f.group(group));
    for (const groupId of groupIds) f.receive(topicId, groupId);
    return { f, topicId, groupIds, rule: 0, isToldToDrain: false, drain: undefined };
  }

  /** What the control plane would push now. */
  #route(): TopicRoute {
    const { name, bytes } = buildTopicRoute(this.#topic, [], 0);
    const decoded = decodeTopicRoute(name, bytes);
    assert.ok(decoded.ok);
    return decoded.value;
  }

  #pick<T>(items: readonly T[]): T {
    return items[randomIndex(this.#chance, items.length)]!;
  }

  #broker(name: string): Broker {
    return this.#brokers.get(name)!;
  }

  #step(): void {
    const draw = randomIndex(this.#chance, 1_000);
    if (draw < 420) this.#send();
    else if (draw < 700) this.#receive(this.#pick(this.#topic.placement), this.#isCanaryUp ? this.#pick(lanes) : "");
    else if (draw < 820) this.#settle();
    else if (draw < 880) this.#pass(this.#pick([10, 300, 2_500, 11_000]));
    else if (draw < 925) this.#pick(this.#sidecars).route = this.#route();
    else if (draw < 955) this.#tell(this.#pick(brokerNames));
    else if (draw < 965) this.#newRule();
    else if (draw < 972) this.#isCanaryUp = !this.#isCanaryUp;
    else if (draw < 979) this.#add();
    else if (draw < 986) this.#drain();
    else if (draw < 991) this.#undrain();
    else this.#kill(this.#pick(brokerNames));
  }

  #send(): void {
    const messageGroup = this.#pick(this.#messageGroups);
    const sequence = (this.#sent.get(messageGroup) ?? 0) + 1;
    const { route, settled } = this.#pick(this.#sidecars);
    const homes = settled.homes(route, messageGroup);
    for (const [i, { brokerName }] of homes.entries()) {
      const { f, topicId } = this.#broker(brokerName);
      const isLast = i + 1 === homes.length;
      const messages = [messageBytes({ id: `${messageGroup}/${sequence}`, group: messageGroup })];
      const spread = { groupSpread: route.groupSpread?.number ?? 0, isEarlierHome: !isLast };
      const sent = f.state.send({ topicId, laneMark: "", bornHost: "h", messages, ...spread }, f.now);
      f.sync();
      if (sent.ok) {
        this.#sent.set(messageGroup, sequence);
        this.report.sent++;
        if (isLast && i > 0) {
          this.report.moved++;
          settled.note(route, messageGroup);
        }
        return;
      }
      assert.equal(sent.code, Code.TooManyRequests, sent.message);
      if (sent.isMoved !== true) break;
    }
    this.report.refused++;
  }

  /** Whatever is handed out must be the oldest message of its message group that the consumer group has not handled. */
  #receive(brokerName: string, lane: string): number {
    const broker = this.#broker(brokerName);
    const groupIndex = randomIndex(this.#chance, consumerGroups.length);
    const call = { lane, clientId: `${lane}-1`, batch: 1 + randomIndex(this.#chance, 4) };
    const got = broker.f.receive(broker.topicId, broker.groupIds[groupIndex]!, call);
    for (const { id, group, receipt } of got) {
      const sequence = Number(id.slice(id.indexOf("/") + 1));
      const handled = this.#handled.get(`${groupIndex}/${group}`) ?? 0;
      const where = `on broker ${brokerName} in lane "${lane}"`;
      assert.equal(
        sequence,
        handled + 1,
        `${consumerGroups[groupIndex]} gets ${id} ${where}, and has handled ${handled}`,
      );
      this.#held.push({ broker, groupIndex, messageGroup: group, sequence, receipt, lane });
    }
    return got.length;
  }

  /** Acks one of the messages that are out; a receipt whose time is over does nothing. */
  #settle(): void {
    if (this.#held.length === 0) return;
    const [held] = this.#held.splice(randomIndex(this.#chance, this.#held.length), 1);
    const { broker, groupIndex, messageGroup, sequence, receipt, lane } = held!;
    const settled = broker.f.state.ack(broker.groupIds[groupIndex]!, [receipt], broker.f.now);
    broker.f.sync();
    assert.ok(settled.ok);
    if (settled.results[0]?.code !== Code.Ok) return;
    const key = `${groupIndex}/${messageGroup}`;
    const handled = this.#handled.get(key) ?? 0;
    // An ack that comes again is OK again.
    if (sequence <= handled) return;
    assert.equal(sequence, handled + 1);
    this.#handled.set(key, sequence);
    this.report.handled++;
    if (lane !== "") this.report.inLane++;
  }

  #pass(ms: number): void {
    for (const { f } of this.#brokers.values()) f.pass(ms);
  }

  /** A broker hears what it has not heard yet of rules and of its drain; and the control plane what is left there. */
  #tell(name: string): void {
    const broker = this.#broker(name);
    const { f } = broker;
    if (broker.rule < this.#rules.length) {
      const rule = this.#rules[this.#rules.length - 1] ?? null;
      broker.rule = this.#rules.length;
      f.operate("lane.rule", { topic: topicName, group: "", name: "canary", number: broker.rule, rule });
      f.advance();
    }
    if (broker.drain === undefined) {
      if (broker.isToldToDrain) f.operate("broker.drain", { drain: false });
      broker.isToldToDrain = false;
      return;
    }
    const order = { drain: true, patienceMs, groupSpread: broker.drain };
    const { unconsumed } = f.operate<{ unconsumed: number }>("broker.drain", order);
    broker.isToldToDrain = true;
    if (unconsumed > 0) return;
    this.#topic = withGroupsGone(this.#topic, name);
    this.report.drained++;
  }

  #newRule(): void {
    // A ramp grows, and is gone at last.
    this.#share = this.#share >= 100 ? 0 : this.#share + 25;
    const whenEmpty = { action: "spill", afterMs: 2_000 };
    this.#rules.push(this.#share === 0 ? null : { ...byShare(this.#share), whenEmpty });
    this.report.rules++;
  }

  #add(): void {
    const name = brokerNames.find((other) => !this.#topic.placement.includes(other));
    if (name === undefined) return;
    this.#topic = withBrokerAdded(this.#topic, name, ++this.#spreadNumber);
    this.report.added++;
  }

  #drain(): void {
    const open = this.#topic.placement.filter((name) => this.#topic.closed?.includes(name) !== true);
    if (open.length < 2) return;
    const name = this.#pick(open);
    this.#topic = withBrokerDraining(this.#topic, name, [], ++this.#spreadNumber);
    this.#broker(name).drain = this.#spreadNumber;
  }

  #undrain(): void {
    if (this.#topic.closed === undefined) return;
    const name = this.#pick(this.#topic.closed);
    this.#topic = withBrokerOpen(this.#topic, name, ++this.#spreadNumber);
    this.#broker(name).drain = undefined;
    this.report.undrained++;
  }

  #kill(name: string): void {
    this.#broker(name).f.crash("kill");
    this.report.kills++;
  }

  #end(): void {
    const isDone = () =>
      [...this.#sent].every(([messageGroup, sent]) =>
        consumerGroups.every((_, i) => this.#handled.get(`${i}/${messageGroup}`) === sent),
      );
    for (let round = 0; !isDone(); round++) {
      assert.ok(round < 2_000, `not all that was sent is handled: ${JSON.stringify([...this.#sent])}`);
      for (const name of this.#topic.placement) for (const lane of lanes) this.#receive(name, lane);
      while (this.#held.length > 0) this.#settle();
      this.#pass(1_000);
    }
    for (const name of brokerNames) this.#broker(name).f.assertRebuilt();
  }
}
