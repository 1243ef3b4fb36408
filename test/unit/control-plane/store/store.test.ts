import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Catalog } from "../../../../control-plane/catalog/catalog.ts";
import { declareGroup, declareTopic } from "../../../../control-plane/catalog/declare.ts";
import { removeResource } from "../../../../control-plane/catalog/remove.ts";
import { DirectoryLockedError } from "../../../../control-plane/store/directory-lock.ts";
import { Store, StoreRefusedError } from "../../../../control-plane/store/store.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const policy = { autoCreateTopics: false, autoCreateGroups: false };

describe("the store", () => {
  let directory: string;
  let clock: ManualClock;
  const opened: Store[] = [];

  const open = async (flags: { bootstrap?: boolean; acceptEmptyStore?: boolean } = {}) => {
    const options = { directory, clock, bootstrap: false, acceptEmptyStore: false, ...flags };
    const store = await Store.open(options);
    opened.push(store);
    return store;
  };
  const close = async (store: Store) => {
    opened.splice(opened.indexOf(store), 1);
    await store.close();
  };
  const catalogOf = (store: Store) =>
    new Catalog({
      tables: store.tables,
      store,
      clock,
      isAlive: () => false,
      onStoreFailure: (error) => {
        throw error;
      },
    });
  const fill = async (store: Store, count: number) => {
    await catalogOf(store).change("test", (draft) => {
      for (let i = 0; i < count; i++) declareTopic(draft, "default", `t${i}`, {}, policy);
    });
  };
  const markerCount = () => JSON.parse(readFileSync(join(directory, "last-count.json"), "utf8")).resourceCount;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-store-"));
    clock = new ManualClock();
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it("gives back after reopening what was written, and not what was deleted", async () => {
    const first = await open({ bootstrap: true });
    const catalog = catalogOf(first);
    await catalog.change("test", (draft) => {
      declareTopic(draft, "default", "orders", { type: "fifo" }, policy);
      declareTopic(draft, "default", "gone", {}, policy);
      declareGroup(draft, "team|a", "%billing", { attemptsMax: 3 }, policy);
    });
    await catalog.change("test", (draft) => removeResource(draft, "topic", "default/gone"));
    const before = catalog.tables;
    await close(first);
    const second = await open();
    assert.deepEqual(second.tables, before);
    assert.deepEqual([...second.tables.topic.keys()], ["default/orders"]);
    assert.equal(second.tables.counter.get("topic/default/gone")?.incarnation, 1);
  });

  it("keeps a line per change: who, what, when; the newest first", async () => {
    const store = await open({ bootstrap: true });
    const catalog = catalogOf(store);
    await catalog.change("ann", (draft) => declareTopic(draft, "default", "orders", {}, policy));
    await catalog.change("bob", (draft) => declareTopic(draft, "default", "orders", { queues: 9 }, policy));
    await catalog.change("bob", (draft) => declareTopic(draft, "default", "orders", { queues: 9 }, policy));
    await catalog.change("eve", (draft) => removeResource(draft, "topic", "default/orders"));
    await close(store);
    const lines = (await open()).audit(10).map(({ by, action, kind, name }) => `${by} ${action} ${kind} ${name}`);
    assert.deepEqual(lines, [
      "eve deleted topic default/orders",
      "bob configured topic default/orders",
      "ann created topic default/orders",
      "ann created namespace default",
    ]);
  });

  it("puts a change into force whole or not at all", async () => {
    const store = await open({ bootstrap: true });
    const catalog = catalogOf(store);
    await assert.rejects(
      catalog.change("test", (draft) => {
        declareTopic(draft, "default", "orders", {}, policy);
        throw new Error("changed my mind");
      }),
      /changed my mind/,
    );
    assert.equal(catalog.tables.topic.size, 0);
    await close(store);
    assert.equal((await open()).tables.topic.size, 0);
  });

  it("is not created where nobody asked for it, and leaves no trace of the try", async () => {
    await assert.rejects(open(), StoreRefusedError);
    assert.equal(existsSync(join(directory, "store")), false);
    await close(await open({ bootstrap: true }));
    await close(await open());
  });

  it("is refused when it vanished, until the loss is confirmed", async () => {
    const store = await open({ bootstrap: true });
    await fill(store, 3);
    await close(store);
    rmSync(join(directory, "store"), { recursive: true });
    await assert.rejects(open({ bootstrap: true }), /3 were known/);
    await close(await open({ acceptEmptyStore: true }));
    await close(await open());
  });

  it("is refused when it lost more than half, for example to an old backup", async () => {
    const store = await open({ bootstrap: true });
    await fill(store, 3);
    await close(store);
    writeFileSync(join(directory, "last-count.json"), JSON.stringify({ resourceCount: 7 }));
    await assert.rejects(open(), /holds 3 topics and groups, but 7 were known/);
    writeFileSync(join(directory, "last-count.json"), JSON.stringify({ resourceCount: 6 }));
    await close(await open());
  });

  it("lowers the marker before it shrinks and raises it only after it has grown", async () => {
    const store = await open({ bootstrap: true });
    await fill(store, 3);
    assert.equal(markerCount(), 0);
    clock.advance(1_000);
    assert.equal(markerCount(), 3);
    const removal = catalogOf(store).change("test", (draft) => removeResource(draft, "topic", "default/t0"));
    assert.equal(markerCount(), 2, "the marker was higher than what the disk may hold");
    await removal;
  });

  it("counts right when changes of one name overlap, and a marker never runs ahead of the disk", async () => {
    const store = await open({ bootstrap: true });
    const catalog = catalogOf(store);
    const create = (count: number) =>
      catalog.change("test", (draft) => {
        for (let i = 0; i < count; i++) declareTopic(draft, "default", `t${i}`, {}, policy);
      });
    const remove = (i: number) => catalog.change("test", (draft) => removeResource(draft, "topic", `default/t${i}`));
    await Promise.all([create(1), remove(0), create(2), remove(1)]);
    const pending = create(500);
    clock.advance(1_000);
    assert.equal(markerCount(), 1, "the marker counts what is not on disk yet");
    await pending;
    await close(store);
    assert.equal(markerCount(), 500);
  });

  it("is refused when it is of another format", async () => {
    const store = await open({ bootstrap: true });
    await close(store);
    const { open: openLmdb } = await import("lmdb");
    const database = openLmdb({ path: join(directory, "store"), encoding: "json" });
    await database.put(["meta", "format"], 2);
    await database.close();
    await assert.rejects(open(), /format 2/);
  });

  it("belongs to one process at a time; a dead holder's lock is taken over", async () => {
    const store = await open({ bootstrap: true });
    await assert.rejects(open(), DirectoryLockedError);
    await close(store);
    // A process that is gone, and one whose number was given to another process since.
    for (const holder of ["999999999 1", `${process.pid} 1`, "nonsense"]) {
      writeFileSync(join(directory, "lock"), `${holder} ${clock.bootId}\n`);
      await close(await open());
    }
  });
});
