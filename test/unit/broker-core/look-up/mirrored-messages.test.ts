import assert from "node:assert/strict";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { groupRef, topicRef } from "../../../support/upstream-client.ts";

const watched = topicRef("watched", { messageTypes: 0b1_0010, queueCount: 1 });
const shadow = topicRef("shadow", { messageTypes: 0b10, queueCount: 1 });
const watchers = groupRef("watchers");

interface Found {
  readonly items: readonly {
    readonly topic: string;
    readonly standing: string;
    readonly queueId: number | null;
    readonly offset: number | null;
    readonly mirrorOf?: string;
    readonly groups: readonly { readonly group: string; readonly state: string }[];
    readonly events: readonly { readonly event: string }[];
  }[];
}

describe("looking up messages that a lane rule copies", () => {
  let broker: SimulatedBroker;
  let operator: OperatorLink;
  const disk = new SimulatedDisk();

  before(async () => {
    broker = await SimulatedBroker.start(disk, new SeededRandomness(5));
    operator = new OperatorLink(broker.broker.port);
    const { client } = broker;
    await client.take(shadow, watchers, { waitMs: 0 });
    await client.take(watched, watchers, { waitMs: 0 });
    const rule = { clauses: [{ to: "base" }], mirror: { topic: shadow.name } };
    await operator.call("lane.rule", { topic: watched.name, name: "watch", number: 1, rule });
    await client.store(watched, "sent", { keys: ["customer-7"] });
    const committed = await client.begin(watched, "half", { keys: ["customer-7"] });
    assert.ok((await client.endTransaction(watched, committed, "COMMIT")).ok);
    await client.begin(watched, "open", { keys: ["customer-7"] });
    const copies = await client.take(shadow, watchers, { batch: 1, waitMs: 5_000, clientId: "w-1" });
    await client.ack(watchers, copies[0]!.receipt);
  });

  after(async () => {
    operator.close();
    await broker.stop();
    disk.unlock();
  });

  const get = async (id: string, parts: object = {}) =>
    (await operator.call<Found>("message.get", { id, ...parts })).items.map(
      ({ topic, standing, queueId, offset, mirrorOf, groups }) =>
        `${standing} in ${topic}/${queueId}/${offset} of ${mirrorOf ?? "-"}: ${groups.map(({ state }) => state)}`,
    );

  it("finds both, and tells what consumers of each have made of it", async () => {
    assert.deepEqual(await get("sent"), [
      "visible in default/watched/0/0 of -: ahead",
      "visible in default/shadow/0/0 of default/watched/0/0: done",
    ]);
    assert.deepEqual(await get("half"), [
      "visible in default/watched/0/1 of -: ahead",
      "visible in default/shadow/0/1 of default/watched/0/1: ahead",
    ]);
    assert.deepEqual(await get("open"), ["waiting in default/watched/null/null of -: "]);
  });

  it("finds the one that is asked for", async () => {
    assert.deepEqual(await get("half", { topic: watched.name }), ["visible in default/watched/0/1 of -: ahead"]);
    assert.deepEqual(await get("half", { topic: shadow.name }), [
      "visible in default/shadow/0/1 of default/watched/0/1: ahead",
    ]);
    await assert.rejects(get("open", { topic: shadow.name }), /holds no message/);
  });

  it("finds those of a topic by their key", async () => {
    const find = async ({ name }: { readonly name: string }) =>
      (await operator.call<Found>("message.find", { topic: name, key: "customer-7" })).items.map(
        ({ topic, standing, offset }) => `${standing} in ${topic} at ${offset}`,
      );
    assert.deepEqual(await find(watched), [
      "visible in default/watched at 0",
      "visible in default/watched at 1",
      "waiting in default/watched at null",
    ]);
    assert.deepEqual(await find(shadow), ["visible in default/shadow at 0", "visible in default/shadow at 1"]);
  });

  it("tells the life of a copy", async () => {
    const { items } = await operator.call<Found>("message.trace", { id: "sent", topic: shadow.name });
    assert.deepEqual(
      items[0]?.events.map(({ event }) => event),
      ["stored in queue 0 of default/shadow at offset 0, as a copy of default/watched", "handed out", "acknowledged"],
    );
  });
});
