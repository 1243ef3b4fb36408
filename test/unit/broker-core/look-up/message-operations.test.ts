import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { groupRef, topicRef, UpstreamClient } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface Item {
  readonly topic: string;
  readonly standing: string;
  readonly queueId: number;
  readonly offset: number;
  readonly position: number;
  readonly storedMs: number;
  readonly messageId: string;
  readonly keys: readonly string[];
  readonly groups: readonly { group: string; state: string; attempt?: number; holder?: string }[];
  readonly events: readonly { event: string; group?: string; attempt?: number; holder?: string; reason?: string }[];
  readonly message: { messageId: string; tag: string | null; properties: object; bodyBytes: number } | null;
}
interface Found {
  readonly items: readonly Item[];
  readonly next: { queueId: number; offset: number } | null;
  readonly hasMore?: boolean;
}

const topic = topicRef("orders", { queueCount: 2 });
const billing = groupRef("billing", { attemptsMax: 2 });

/** 500 bytes: some 450 of them fill a log file of the simulated broker. */
function keyed(id: string, keys: readonly string[], tag: string): Uint8Array {
  return apache.rocketmq.v2.Message.encode({
    topic: { name: "orders" },
    systemProperties: { messageId: id, messageType: 1, keys: [...keys], tag },
    userProperties: { region: "eu" },
    body: Buffer.alloc(500, id),
  }).finish();
}

describe("looking messages up", function () {
  this.timeout(240_000);
  const count = 1_500;
  let disk: SimulatedDisk;
  let broker: SimulatedBroker;
  let operator: OperatorLink;

  const start = async () => {
    broker = await SimulatedBroker.start(disk, new SeededRandomness(3));
    operator = new OperatorLink(broker.broker.port);
  };
  const stop = async () => {
    operator.close();
    await broker.stop();
    disk.unlock();
  };
  const get = (id: string, parts: object = {}) => operator.call<Found>("message.get", { id, ...parts });
  const trace = async (id: string) => (await operator.call<Found>("message.trace", { id })).items[0]!;
  const find = (parts: object) => operator.call<Found>("message.find", { topic: "default/orders", ...parts });
  const indexes = () => disk.list("look-up").filter((name) => name.endsWith(".idx"));
  const logFiles = () => disk.list("log").filter((name) => /^\d{20}\.log$/.test(name));

  before(async () => {
    disk = new SimulatedDisk();
    await start();
    const { client } = broker;
    for (let i = 0; i < count; i += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, j) => {
          const n = i + j;
          const message = keyed(`id-${n}`, [`order-${n}`, `customer-${n % 100}`], n % 2 === 0 ? "even" : "odd");
          // Refused while no file is ready for what comes next.
          return waitUntil("it is stored", async () => (await client.send(topic, [message])).ok);
        }),
      );
    }
    // The first ten are handed out; their fates differ.
    const got = await client.take(topic, billing, { batch: 10, invisibleMs: 60_000, clientId: "worker-1" });
    const receiptOf = new Map(
      got.map((delivery) => [
        apache.rocketmq.v2.Message.decode(delivery.message).systemProperties!.messageId,
        delivery.receipt,
      ]),
    );
    const [acked, nacked, extended, forwarded] = [...receiptOf.keys()];
    ids = { acked: acked!, nacked: nacked!, extended: extended!, forwarded: forwarded! };
    await client.ack(billing, receiptOf.get(ids.acked)!);
    await client.change(billing, receiptOf.get(ids.extended)!, "extend", 60_000);
    await client.deadLetter(billing, receiptOf.get(ids.forwarded)!);
    await client.change(billing, receiptOf.get(ids.nacked)!, "renew", 0);
    const [again] = await client.take(topic, billing, { batch: 1, invisibleMs: 60_000, clientId: "worker-2" });
    UpstreamClient.codes(await client.ack(billing, again!.receipt));
  });
  after(() => stop());
  let ids: { acked: string; nacked: string; extended: string; forwarded: string };

  async function asks(): Promise<void> {
    // Each message, wherever it lies.
    for (let n = 0; n < count; n += 97) {
      const { items } = await get(`id-${n}`);
      assert.equal(items.length, 1, `id-${n}`);
      assert.equal(items[0]?.message?.messageId, `id-${n}`);
      assert.deepEqual(items[0]?.message?.properties, { region: "eu" });
      const byKey = await find({ key: `order-${n}` });
      assert.deepEqual(
        byKey.items.map(({ messageId, position }) => [messageId, position]),
        [[`id-${n}`, items[0]?.position]],
      );
    }
    await assert.rejects(get("id-none"), /holds no message "id-none"/);
    await assert.rejects(get("id-0", { topic: "default/bills" }), /holds no message/);
    assert.deepEqual((await find({ key: "order-none" })).items, []);
    // A key that many share, in the order in which they were stored; and its pages' limit.
    const expected = Array.from({ length: count / 100 }, (_, i) => `id-${7 + 100 * i}`);
    const shared = await find({ key: "customer-7", count: 200 });
    assert.deepEqual(shared.items.map(({ messageId }) => messageId).sort(), expected.sort());
    assert.equal(shared.hasMore, false);
    const cut = await find({ key: "customer-7", count: 3 });
    assert.deepEqual([cut.items.length, cut.hasMore], [3, true]);
    assert.deepEqual((await find({ key: "customer-7", tag: "even" })).items, [], "7, 107, … are odd");
  }

  async function traces(): Promise<void> {
    const steps = (item: Item) =>
      item.events.map(({ event, attempt, holder, reason }) =>
        [event, attempt, holder, reason].filter(Boolean).join(" · "),
      );
    const acked = await trace(ids.acked);
    assert.match(acked.events[0]!.event, /^stored in queue \d of default\/orders at offset \d+$/);
    assert.deepEqual(steps(acked).slice(1), ["handed out · 1 · worker-1", "acknowledged"]);
    assert.equal(acked.groups[0]?.state, "done");
    assert.deepEqual(steps(await trace(ids.nacked)).slice(1, 3), [
      "handed out · 1 · worker-1",
      "given back by its holder · 1",
    ]);
    assert.deepEqual(steps(await trace(ids.extended)).slice(1), [
      "handed out · 1 · worker-1",
      "invisible duration extended by the sidecar · 1",
    ]);
    const dead = await trace(ids.forwarded);
    assert.deepEqual(steps(dead).slice(1), [
      "handed out · 1 · worker-1",
      "moved to the dead-letter queue · 1 · worker-1 · forwarded by the consumer",
    ]);
    assert.equal(dead.groups[0]?.state, "dead");
    const untouched = await trace("id-1400");
    assert.deepEqual([untouched.events.length, untouched.groups[0]?.state], [1, "ahead"]);
  }

  it("finds by id and key what is not indexed yet", asks);
  it("tells the life of a message that is not indexed yet", traces);

  it("indexes every sealed file in the background, and finds the same through the indexes", async () => {
    const { position } = (await get(`id-${count - 1}`)).items[0]!;
    // A file that stands ready behind the one in use holds nothing yet.
    const begun = logFiles().filter((name) => Number.parseInt(name, 10) <= position);
    assert.ok(begun.length >= 4, `only ${begun.length} files were begun`);
    await waitUntil("all sealed files are indexed", () => indexes().length >= begun.length - 1, 30_000);
    await asks();
    await traces();
  });

  it("falls back to the log where an index is damaged, of another file, or gone", async () => {
    const [first, second, third] = indexes();
    await stop();
    disk.alter(`look-up/${first}`, (bytes) => {
      bytes[30]! ^= 0xff;
    });
    disk.remove(`look-up/${second}`);
    disk.swap(`look-up/${third}`, `look-up/${first}`);
    await start();
    await asks();
    await traces();
  });

  it("lists the messages of a time queue by queue, page by page", async () => {
    const { items } = await get("id-700");
    const fromMs = items[0]!.storedMs;
    const seen: string[] = [];
    let from: Found["next"] = null;
    do {
      const page: Found = await find({ sinceMs: fromMs, count: 100, ...(from === null ? {} : { from }) });
      seen.push(...page.items.map(({ messageId }) => messageId));
      assert.ok(page.items.length <= 100);
      from = page.next;
    } while (from !== null);
    assert.equal(new Set(seen).size, seen.length, "none twice");
    assert.ok(seen.includes("id-700") && seen.includes(`id-${count - 1}`) && !seen.includes("id-10"));
    assert.deepEqual((await find({ sinceMs: 0, untilMs: 1 })).items, []);
    const odd = await find({ tag: "odd", count: 20 });
    assert.ok(odd.items.length === 20 && odd.items.every(({ messageId }) => Number(messageId.slice(3)) % 2 === 1));
  });

  it("serves messages while it looks through the log", async () => {
    const looking = get("id-none").catch(() => "absent");
    let answered = 0;
    const done = looking.then(() => answered);
    for (let i = 0; i < 5; i++) {
      await broker.client.store(topicRef("other"), `between-${i}`);
      answered++;
    }
    assert.ok(answered === 5 && (await done) >= 0);
    const many = await Promise.allSettled(Array.from({ length: 12 }, () => get("id-none")));
    const reasons = many.map((result) => (result.status === "rejected" ? String(result.reason.message) : ""));
    assert.ok(
      reasons.some((reason) => /look-ups run already; try again/.test(reason)),
      reasons.join("\n"),
    );
    assert.ok(reasons.some((reason) => /holds no message/.test(reason)));
  });
});
