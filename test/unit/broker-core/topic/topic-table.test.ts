import assert from "node:assert/strict";
import { BrokerTables } from "../../../../broker-core/dispatch/broker-tables.ts";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";
import type { GroupRecord } from "../../../../broker-core/record/group-record.ts";
import { IdRows } from "../../../../broker-core/topic/id-rows.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { testSeed } from "../../../support/test-seed.ts";

const clock = { boot: 1, startMonotonicMs: 0, startWallMs: 0 };
const groupCount = 4;

function tablesWithGroups(): BrokerTables {
  const tables = new BrokerTables(clock, 1);
  const policy = { generation: 1, attemptsMax: 0, inflightMax: 0, delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
  for (let groupId = 1; groupId <= groupCount; groupId++) {
    tables.groups.put({ ...policy, groupId, name: `ns/g${groupId}` } satisfies GroupRecord, 0);
  }
  return tables;
}

interface ModelTopic {
  readonly name: string;
  incarnation: number;
  messageTypes: number;
  openedPosition: number;
  readonly queues: number[];
  readonly subscriptions: Map<number, { cursors: number[]; deadLetters: number }>;
}

describe("the topics and who reads them", () => {
  it("are what a plain model says, through additions, removals, putting away and images", () => {
    const randomness = new SeededRandomness(testSeed);
    const pick = (count: number) => randomIndex(randomness, count);
    let tables = tablesWithGroups();
    const model = new Map<number, ModelTopic>();
    const addQueue = (id: number): void => {
      // Mostly side by side, and with gaps when others came between.
      if (pick(3) === 0) tables.queues.add(1_000_000, 0);
      const slot = tables.queues.add(id, model.get(id)!.queues.length);
      tables.topics.addQueue(tables.topics.byId(id)!, slot);
      model.get(id)!.queues.push(slot);
      for (const subscription of tables.topics.byId(id)!.subscriptions.values()) subscription.widen();
      for (const { cursors } of model.get(id)!.subscriptions.values()) cursors.push(0);
    };
    const check = (id: number): void => {
      const expected = model.get(id)!;
      const where = `topic ${id} (seed ${testSeed})`;
      const lent = tables.topics.lend(id)!;
      const seen = { id: lent.id, name: lent.name, types: lent.messageTypes, queues: [...lent.queues] };
      assert.deepEqual(seen, { id, name: expected.name, types: expected.messageTypes, queues: expected.queues }, where);
      const inUse = tables.topics.inUse(id);
      const topic = tables.topics.byId(id)!;
      assert.ok(inUse === undefined || inUse === topic, where);
      assert.equal(tables.topics.inUse(id), topic, where);
      assert.equal(tables.topics.lend(id), topic, where);
      assert.equal(tables.topics.byName(expected.name)?.id, id, where);
      const { name, incarnation, messageTypes, openedPosition, queues } = topic;
      const { subscriptions, ...rest } = expected;
      assert.deepEqual({ name, incarnation, messageTypes, openedPosition, queues }, rest, where);
      for (let groupId = 1; groupId <= groupCount; groupId++) {
        const known = subscriptions.get(groupId);
        const subscription = tables.subscription(groupId, id);
        assert.deepEqual(subscription && [...subscription.cursors], known?.cursors, where);
        assert.equal(subscription?.deadLetters, known?.deadLetters, where);
      }
      assert.deepEqual(
        Array.from(topic.subscriptions.values(), ({ group }) => group.id),
        [...subscriptions.keys()],
        where,
      );
    };
    for (let step = 0; step < 6_000; step++) {
      const ids = [...model.keys()];
      const id = ids[pick(ids.length)] ?? 0;
      switch (pick(8)) {
        case 0: {
          const newId = tables.topics.nextId;
          const topic = { name: `ns/t${newId}`, incarnation: pick(9), messageTypes: pick(32), openedPosition: step };
          tables.topics.add(newId, topic.name, topic.incarnation, topic.messageTypes, topic.openedPosition);
          model.set(newId, { ...topic, queues: [], subscriptions: new Map() });
          for (let i = pick(3); i >= 0; i--) addQueue(newId);
          break;
        }
        case 1:
          if (id > 0) addQueue(id);
          break;
        case 2:
          if (id > 0) {
            const topic = tables.topics.byId(id)!;
            topic.incarnation = model.get(id)!.incarnation = step;
            topic.openedPosition = model.get(id)!.openedPosition = step * 1e9;
          }
          break;
        case 3:
        case 4: {
          const groupId = 1 + pick(groupCount);
          if (id === 0 || model.get(id)!.subscriptions.has(groupId)) break;
          const topic = tables.topics.byId(id)!;
          const { cursors } = tables.subscriptions.add(tables.groups.byId(groupId)!, topic);
          for (let i = 0; i < cursors.length; i++) cursors[i] = step + i;
          model.get(id)!.subscriptions.set(groupId, { cursors: [...cursors], deadLetters: 0 });
          break;
        }
        case 5: {
          const [groupId = 0] = model.get(id)?.subscriptions.keys() ?? [];
          const subscription = tables.subscription(groupId, id);
          if (subscription === undefined) break;
          const known = model.get(id)!.subscriptions.get(groupId)!;
          subscription.cursors[0] = known.cursors[0] = step;
          subscription.deadLetters = known.deadLetters = step;
          break;
        }
        case 6:
          if (id > 0 && pick(2) === 0) {
            const topic = tables.topics.byId(id)!;
            for (const subscription of [...topic.subscriptions.values()]) tables.subscriptions.remove(subscription);
            const { name } = model.get(id)!;
            tables.topics.remove(topic);
            model.delete(id);
            const { topics } = tables;
            assert.deepEqual([topics.lend(id), topics.byId(id), topics.inUse(id)], [undefined, undefined, undefined]);
            assert.equal(topics.byName(name), undefined);
          }
          break;
        default:
          if (pick(40) === 0) tables = restored(tables);
      }
      if (id > 0 && model.has(id)) check(id);
      if (pick(2) === 0) tables.topics.putAwayIdle(0);
    }
    for (const id of model.keys()) check(id);
    const inOrder = [...model.keys()].sort((a, b) => a - b);
    assert.deepEqual(
      Array.from(tables.topics.all(), ({ id }) => id),
      inOrder,
    );
    const counts = [tables.topics.count, tables.subscriptions.count];
    const subscriptions = [...model.values()].reduce((sum, topic) => sum + topic.subscriptions.size, 0);
    assert.deepEqual(counts, [model.size, subscriptions]);
    assert.ok(model.size > 100 && subscriptions > 100, "the run did too little");
  });

  it("are put away when idle, and kept while something is in hand or waits", () => {
    const tables = tablesWithGroups();
    const group = tables.groups.byId(1)!;
    for (let id = 1; id <= 100; id++) {
      tables.topics.addQueue(tables.topics.add(id, `ns/t${id}`, 1, 2, 0), tables.queues.add(id, 0));
      tables.subscriptions.add(group, tables.topics.byId(id)!);
    }
    const busy = tables.subscription(1, 10)!;
    busy.inFlight = 1;
    const waiting = tables.subscription(1, 20)!;
    waiting.waitHead = 0;
    const scanning = tables.subscription(1, 30)!;
    scanning.isScanning = true;
    tables.topics.byId(40)!.isWoken = true;
    const putAway = () => {
      for (let i = 0; i < 4; i++) {
        tables.topics.byId(50 + i);
        tables.topics.putAwayIdle(0);
      }
    };
    putAway();
    assert.ok(tables.topics.inUseCount <= 8, `${tables.topics.inUseCount} topics are in use`);
    assert.ok(tables.subscriptions.inUseCount <= 3 + 8, `${tables.subscriptions.inUseCount} subscriptions are in use`);
    const inUse = tables.topics.inUseCount;
    for (let id = 60; id <= 100; id++) assert.equal(tables.topics.lend(id)?.id, id);
    assert.equal(tables.topics.inUseCount, inUse, "a look takes nothing into use");
    assert.equal(tables.subscription(1, 10), busy);
    assert.equal(tables.subscription(1, 20), waiting);
    assert.equal(tables.subscription(1, 30), scanning);
    busy.inFlight = 0;
    waiting.waitHead = -1;
    scanning.isScanning = false;
    tables.topics.byId(40)!.isWoken = false;
    putAway();
    putAway();
    const left = tables.subscriptions.inUseCount;
    assert.ok(left <= 8, `${left} subscriptions are in use`);
    // Walking over all of them leaves none behind, also when the walk is broken off.
    for (const { topic } of tables.subscriptions.all()) if (topic.id === 70) break;
    assert.equal([...tables.subscriptions.all()].length, 100);
    assert.equal(tables.subscriptions.inUseCount, left);
    assert.ok(tables.topics.inUseCount <= 8);
  });
});

describe("rows by id", () => {
  it("are found page by page, and a page whose ids are gone is empty again", () => {
    const rows = new IdRows();
    const ids = [1, 2, 4_095, 4_096, 4_097, 1_000_000];
    for (const [row, id] of ids.entries()) rows.set(id, row);
    for (const [row, id] of ids.entries()) assert.equal(rows.get(id), row);
    for (const id of [0, 3, 999_999, 5_000_000]) assert.equal(rows.get(id), -1);
    rows.mark(4_096, true);
    assert.deepEqual(
      [...ids, 3, 5_000_000].map((id) => rows.isMarked(id)),
      [0, 0, 0, 1, 0, 0, 0, 0].map(Boolean),
    );
    assert.equal(rows.get(4_096), 3);
    rows.mark(4_096, false);
    assert.deepEqual([rows.isMarked(4_096), rows.get(4_096)], [false, 3]);
    for (const id of ids) {
      rows.remove(id);
      assert.equal(rows.get(id), -1);
    }
  });
});

function restored(tables: BrokerTables): BrokerTables {
  const image = new ImageWriter();
  tables.topics.writeTo(image);
  tables.queues.writeTo(image, "whole");
  tables.subscriptions.writeTo(image);
  const again = tablesWithGroups();
  const reader = new ImageReader(image.bytes());
  again.topics.readFrom(reader);
  again.queues.readFrom(reader);
  again.subscriptions.readFrom(reader, "whole");
  assert.ok(reader.isAtEnd);
  again.topics.nextId = tables.topics.nextId;
  return again;
}
