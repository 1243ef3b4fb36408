import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import type { Delivery, GroupRef, TopicRef } from "../../sidecar/upstream/upstream.ts";
import {
  deadline,
  encodedMessage,
  groupRef,
  messageIdOf,
  topicRef,
  UpstreamClient,
} from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";
import type { GoldenBroker } from "./golden-broker.ts";

/*
 * What is played to a broker before its directory is put away. It is part of the releases that were made with it: a new kind of
 * record gets a place in it, what is there already stays.
 */

const of = (...types: number[]) => types.reduce((bits, type) => bits | (1 << type), 0);
const plain = topicRef("plain", { messageTypes: of(1) });
const orders = topicRef("orders", { messageTypes: of(2), queueCount: 3 });
const alarms = topicRef("alarms", { messageTypes: of(1, 3), queueCount: 2 });
const transfers = topicRef("transfers", { messageTypes: of(1, 4), queueCount: 2 });
const urgent = topicRef("urgent", { messageTypes: of(6), queueCount: 3 });
const chat = topicRef("chat", { messageTypes: of(5), queueCount: 1 });
const filler = topicRef("filler", { messageTypes: of(1), queueCount: 2 });
const widened = topicRef("widened", { messageTypes: of(1), queueCount: 2 });
const reborn = topicRef("reborn", { messageTypes: of(1), queueCount: 1 });
const laned = topicRef("laned", { messageTypes: of(1), queueCount: 2 });
const watched = topicRef("watched", { messageTypes: of(1, 3, 4), queueCount: 2 });
const shadow = topicRef("shadow", { messageTypes: of(1), queueCount: 2 });
export const sceneTopics = { plain, orders, alarms, transfers, urgent, chat, watched, shadow };

const exponential = { kind: "exponential", initialMs: 500, maxMs: 60_000, multiplier: 3 } as const;
const billing = groupRef("billing");
const audit = groupRef("audit", { backoff: exponential, inflightMax: 50 });
const sql = groupRef("sql");
const strict = groupRef("strict", { attemptsMax: 1 });
const shippers = groupRef("shippers");
const agents = groupRef("agents");
const replayer = groupRef("replayer");
const sweeper = groupRef("sweeper");
const releasers = groupRef("releasers");
const watchers = groupRef("watchers");
const instance = (name: string, expiryMs: number): GroupRef => {
  return groupRef(`news@${name}`, { broadcast: { group: "default/news", clientId: name, expiryMs } });
};
const stays = instance("stays", 30 * 24 * 3_600_000);
const goes = instance("goes", 1_000);
const read = [billing, audit, sql, strict, shippers, agents, replayer, stays, releasers, watchers];
export const sceneGroups = read.map(({ name }) => name);

const heldMs = 12 * 3_600_000;
/** Until a timed message comes that is there to be released by a later release. */
export const laterMs = 3 * 24 * 3_600_000;

/** What the broker has given out, and must take back whatever release it is. */
export interface GivenOut {
  /** Held: an ack is OK. */
  readonly held: { group: string; receipt: string; id: string }[];
  /** Acked: another ack is OK. */
  readonly acked: { group: string; receipt: string }[];
  /** Void: the topic was made again. */
  readonly void: { group: string; receipt: string }[];
  /** Of messages that wait, and of one that was taken back. */
  readonly recallable: string[];
  readonly recalled: string[];
  readonly openTransactions: string[];
  readonly committed: string[];
  readonly rolledBack: string[];
  /** Messages that come when `laterMs` is over, in this topic. */
  readonly later: { topic: string; id: string }[];
}

export interface Scene {
  readonly givenOut: GivenOut;
}

/** `directory`: set where the scene goes on until retention has removed the beginning of the log. */
export async function playScene(broker: GoldenBroker, trimmedDirectory: string | undefined): Promise<Scene> {
  const { client, operator, clock } = broker;
  const givenOut: GivenOut = {
    ...{ held: [], acked: [], void: [], recallable: [], recalled: [] },
    ...{ openTransactions: [], committed: [], rolledBack: [], later: [] },
  };
  const hold = (group: GroupRef, ...deliveries: readonly Delivery[]) => {
    for (const delivery of deliveries) {
      givenOut.held.push({ group: group.name, receipt: delivery.receipt, id: messageIdOf(delivery) });
    }
  };
  const take = async (topic: TopicRef, group: GroupRef, batch: number, parts: object = {}) => {
    const taken = await client.take(topic, group, { batch, invisibleMs: heldMs, waitMs: 5_000, ...parts });
    assert.ok(taken.length > 0, `nothing came to ${group.name} from ${topic.name}`);
    return taken;
  };
  const ack = async (group: GroupRef, ...deliveries: readonly Delivery[]) => {
    const codes = UpstreamClient.codes(await client.ack(group, ...deliveries.map(({ receipt }) => receipt)));
    assert.ok(codes.every((code) => code === Code.Ok));
    for (const { receipt } of deliveries) givenOut.acked.push({ group: group.name, receipt });
  };
  const timed = async (id: string, inMs: number) => {
    // To the second: that is what the schema of the client's message holds beside nanos.
    const deliveryMs = Math.floor(clock.wallMs()) + inMs;
    const { recallHandles } = await client.store(alarms, id, { deliveryMs });
    return recallHandles?.[0] ?? assert.fail("no recall handle");
  };

  // What a trim has to carry on: unseen messages, a lock of a message group, a group that is far behind.
  givenOut.recallable.push(await timed("early-alarm-1", laterMs));
  await timed("early-alarm-2", laterMs);
  givenOut.later.push({ topic: alarms.name, id: "early-alarm-2" });
  givenOut.openTransactions.push(await client.begin(transfers, "early-half", { recoveryMs: 7 * 24 * 3_600_000 }));
  for (let i = 0; i < 6; i++) await client.store(orders, `early-order-${i}`, { messageGroup: `customer-${i % 2}` });
  const [early] = await take(orders, shippers, 1);
  if (trimmedDirectory !== undefined) {
    let last: Delivery | undefined;
    const oneRound = async (round: number) => {
      // A message group of which always one young message is out: wherever the log begins, it is locked there.
      await client.store(orders, `steady-${round}`, { messageGroup: "steady" });
      // Refused when the message went with the beginning of the log meanwhile.
      if (last !== undefined) await client.ack(shippers, last.receipt);
      [last] = await take(orders, shippers, 1);
    };
    const rounds = await fillUntilTrimmed(broker, trimmedDirectory, oneRound);
    await oneRound(rounds);
    hold(shippers, last!);
    // What it held lies before the log's beginning now.
    givenOut.void.push({ group: shippers.name, receipt: early!.receipt });
  } else hold(shippers, early!);

  // An instance of a broadcast group begins at the end.
  for (const newcomer of [stays, goes]) await client.take(plain, newcomer, { waitMs: 0 });

  // Messages of all kinds.
  for (let i = 0; i < 24; i++) {
    await client.store(plain, `plain-${i}`, { tag: i % 2 === 0 ? "even" : "odd", body: `plain message ${i}` });
  }
  const parts = Array.from({ length: 3 }, (_, i) => encodedMessage(`part-${i}`));
  assert.ok((await client.send(plain, parts, { laneMark: "canary", bornHost: "10.1.2.3" })).ok);
  for (let i = 0; i < 9; i++) await client.store(orders, `order-${i}`, { messageGroup: `customer-${i % 3}` });
  for (const priority of [0, 2, 1]) await sendAs(client, urgent, `urgent-${priority}`, 6, { priority });
  const asked = { topic: chat, group: agents, clientId: "agent", action: "add", start: undefined } as const;
  await new Promise((resolve) =>
    client.upstream.syncLite({ ...asked, liteTopics: ["room-1", "room-2"] }, deadline(10_000), resolve),
  );
  for (const room of ["room-1", "room-2", "room-1"]) {
    await sendAs(client, chat, `${room}-${givenOut.held.length}`, 5, { liteTopic: room });
    hold(agents, ...(await take(chat, agents, 1, { clientId: "agent" })));
  }

  // Groups with positions, leases in every state, filters, order.
  const billed = await take(plain, billing, 9);
  assert.equal(billed.length, 9);
  await ack(billing, ...billed.slice(0, 3));
  hold(billing, ...billed.slice(3, 6));
  const [renewed, suspended, handedBack] = billed.slice(6);
  await changed(client, billing, renewed!, "renew", 0, givenOut);
  hold(billing, ...(await take(plain, billing, 1)));
  await changed(client, billing, suspended!, "suspend", heldMs, givenOut);
  await changed(client, billing, handedBack!, "hand-back", 0, givenOut);
  const audited = await take(plain, audit, 4, { filter: "even" });
  await ack(audit, ...audited.slice(0, 2));
  hold(audit, ...audited.slice(2));
  hold(sql, ...(await take(plain, sql, 2, { filterType: 2, filter: "origin = 'test' AND origin <> 'x'" })));
  hold(stays, ...(await take(plain, stays, 1)));
  await take(plain, goes, 1);
  hold(shippers, ...(await take(orders, shippers, 2)));

  // Dead letters: by the consumer, by the end of the last lease, redriven.
  const dying = await take(plain, strict, 4);
  const forwarded = dying.slice(0, 3).map(({ receipt }) => receipt);
  assert.deepEqual(UpstreamClient.codes(await client.deadLetter(strict, ...forwarded)), [Code.Ok, Code.Ok, Code.Ok]);
  const nacked = await client.change(strict, dying[3]!.receipt, "renew", 0);
  assert.deepEqual(UpstreamClient.codes(nacked), [Code.Ok]);
  await operator.call("dlq.redrive", { group: strict.name, count: 1 });

  // Times and transactions.
  await timed("alarm-due", 30);
  givenOut.recallable.push(await timed("alarm-1", laterMs));
  await timed("alarm-2", laterMs);
  givenOut.later.push({ topic: alarms.name, id: "alarm-2" });
  const taken = await timed("alarm-3", laterMs);
  assert.ok((await client.recall(alarms, taken)).ok);
  givenOut.recalled.push(taken);
  const [open, committed, rolledBack] = [
    await client.begin(transfers, "half-open", { recoveryMs: 7 * 24 * 3_600_000 }),
    await client.begin(transfers, "half-committed"),
    await client.begin(transfers, "half-rolled-back"),
  ];
  givenOut.openTransactions.push(open);
  assert.ok((await client.endTransaction(transfers, committed, "COMMIT")).ok);
  assert.ok((await client.endTransaction(transfers, rolledBack, "ROLLBACK")).ok);
  givenOut.committed.push(committed);
  givenOut.rolledBack.push(rolledBack);
  const questions = client.orphans();
  client.upstream.announceProducer(transfers.name, true);
  const asking = await client.begin(transfers, "half-asked", { recoveryMs: 100 });
  await waitUntil("the producer is asked", () => questions.length > 0, 30_000);
  givenOut.openTransactions.push(asking);
  await waitUntil("a timed message comes", () => messagesOf(broker, alarms) > 0);

  // Topics that changed, positions that were set.
  await client.store(widened, "narrow");
  await client.store({ ...widened, queueCount: 4 }, "wide");
  await client.store(reborn, "of the first life");
  const [late] = await take(reborn, billing, 1);
  givenOut.void.push({ group: billing.name, receipt: late!.receipt });
  await client.store({ ...reborn, incarnation: 2 }, "of the second life");
  for (const { receipt } of await take(plain, replayer, 5)) await client.ack(replayer, receipt);
  await operator.call("group.reset", { group: replayer.name, topic: plain.name, to: { offset: 1 } });
  // Lanes: one whose consumers come, one that nobody consumes in, and that ends.
  await client.take(laned, releasers, { waitMs: 0 });
  const to = (...lanes: string[]) => ({ clauses: lanes.map((lane) => ({ to: lane, lane })) });
  const laneRule = { topic: laned.name, name: "releases", group: releasers.name };
  await operator.call("lane.rule", { ...laneRule, number: 1, rule: to("canary", "blue") });
  await client.take(laned, releasers, { waitMs: 0, lane: "canary", clientId: "canary" });
  for (const [i, laneMark] of ["canary", "blue", "", "canary", "blue", ""].entries()) {
    assert.ok((await client.send(laned, [encodedMessage(`laned-${i}`)], { laneMark, bornHost: "10.1.2.3" })).ok);
  }
  hold(releasers, ...(await take(laned, releasers, 1, { lane: "canary", clientId: "canary" })));
  const held = { ...to("canary"), whenEmpty: { action: "hold" } };
  await operator.call("lane.rule", { ...laneRule, number: 2, rule: held });
  for (let left = 4; left > 0; ) {
    const taken = await take(laned, releasers, 4);
    await ack(releasers, ...taken);
    left -= taken.length;
  }
  // The lane that its rule holds is its own again at once.
  for (const state of ["off", "on"]) await operator.call("lanes.switch", { state, by: "golden" });
  await playMirror(broker, hold);
  // Message groups are spread anew; the broker is drained, and taken back.
  const spread = { laneMark: "", bornHost: "10.1.2.3", groupSpread: 2 };
  assert.ok((await client.send(orders, [encodedMessage("spread", { messageGroup: "customer-9" })], spread)).ok);
  const drained = { drain: true, patienceMs: 60_000, groupSpread: 3 };
  for (const order of [drained, { drain: false }]) await operator.call("broker.drain", order);
  const changedPolicy = { ...sql, generation: 2, attemptsMax: 9 };
  hold(sql, ...(await take(plain, changedPolicy, 1, { filterType: 2, filter: "origin = 'test' AND origin <> 'x'" })));
  await waitUntil("an instance of a broadcast group is forgotten", () =>
    broker.broker.state.subscriptions().every(({ group }) => group !== goes.name),
  );
  return { givenOut };
}

/** A topic whose messages are copied: when they are sent, when their time comes, and when they are committed. */
async function playMirror(
  broker: GoldenBroker,
  hold: (group: GroupRef, ...deliveries: readonly Delivery[]) => void,
): Promise<void> {
  const { client, operator, clock } = broker;
  await client.take(shadow, watchers, { waitMs: 0 });
  await client.take(watched, watchers, { waitMs: 0 });
  const rule = { clauses: [{ to: "base" }], mirror: { topic: shadow.name } };
  await operator.call("lane.rule", { topic: watched.name, name: "watch", number: 1, rule });
  for (let i = 0; i < 3; i++) await client.store(watched, `watched-${i}`);
  const parts = Array.from({ length: 2 }, (_, i) => encodedMessage(`watched-part-${i}`));
  assert.ok((await client.send(watched, parts, { laneMark: "canary", bornHost: "10.1.2.3" })).ok);
  // Its copy comes with it.
  await client.store(watched, "watched-later", { deliveryMs: Math.floor(clock.wallMs()) + laterMs });
  await client.store(watched, "watched-due", { deliveryMs: Math.floor(clock.wallMs()) + 30 });
  const committed = await client.begin(watched, "watched-half");
  assert.ok((await client.endTransaction(watched, committed, "COMMIT")).ok);
  await waitUntil("all copies are there", () => messagesOf(broker, shadow) === 7);
  assert.equal(messagesOf(broker, watched), 7);
  hold(watchers, ...(await client.take(shadow, watchers, { batch: 3, invisibleMs: heldMs, waitMs: 5_000 })));
}

async function changed(
  client: UpstreamClient,
  group: GroupRef,
  { receipt }: Delivery,
  kind: "renew" | "suspend" | "hand-back",
  invisibleMs: number,
  givenOut: GivenOut,
): Promise<void> {
  assert.deepEqual(UpstreamClient.codes(await client.change(group, receipt, kind, invisibleMs)), [Code.Ok], kind);
  givenOut.void.push({ group: group.name, receipt });
}

async function sendAs(
  client: UpstreamClient,
  topic: TopicRef,
  messageId: string,
  messageType: number,
  parts: apache.rocketmq.v2.ISystemProperties,
): Promise<void> {
  const { Message } = apache.rocketmq.v2;
  const systemProperties = { messageId, messageType, ...parts };
  const bytes = Message.encode({
    topic: { name: topic.name },
    systemProperties,
    body: Buffer.from(messageId),
  }).finish();
  const answer = await client.send(topic, [bytes]);
  assert.ok(answer.ok, answer.ok ? "" : answer.message);
}

/** What comes after the last checkpoint of a broker that is killed. */
export async function playEpilogue({ client }: GoldenBroker, { givenOut }: Scene): Promise<void> {
  for (let i = 0; i < 3; i++) await client.store(plain, `last-${i}`, { tag: "even" });
  const [delivery, other] = await client.take(plain, audit, { batch: 2, filter: "even", invisibleMs: heldMs });
  assert.deepEqual(UpstreamClient.codes(await client.ack(audit, delivery!.receipt)), [Code.Ok]);
  givenOut.acked.push({ group: audit.name, receipt: delivery!.receipt });
  givenOut.held.push({ group: audit.name, receipt: other!.receipt, id: messageIdOf(other!) });
}

/** Messages that are consumed at once, until the log does not begin at 0 any more. */
async function fillUntilTrimmed(
  { client }: GoldenBroker,
  directory: string,
  between: (round: number) => Promise<void>,
): Promise<number> {
  const body = Buffer.alloc(6_000, "filler ");
  for (let i = 0; i < 1_000; i++) {
    await between(i);
    await Promise.all(Array.from({ length: 8 }, (_, k) => client.store(filler, `filler-${i}-${k}`, { body })));
    for (let left = 8; left > 0; ) {
      const taken = await client.take(filler, sweeper, { batch: left, waitMs: 1_000 });
      await client.ack(sweeper, ...taken.map(({ receipt }) => receipt));
      left -= taken.length;
    }
    const first = readdirSync(join(directory, "log")).find((name) => name.endsWith(".log"));
    if (first !== "00000000000000000000.log" && existsSync(join(directory, "base"))) return i + 1;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("the log still begins at 0");
}

function messagesOf({ broker }: GoldenBroker, { name }: TopicRef): number {
  return broker.state.topics().find((topic) => topic.name === name)?.messages ?? 0;
}
