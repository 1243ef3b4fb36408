import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { LastKnownGood, type SavedResource } from "../../../../sidecar/xds/last-known-good.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

describe("last known good", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-lkg-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const open = () => new LastKnownGood(directory, new ManualClock(), silentLog);
  const resource = (name: string, text: string, usedAtMs = 1): SavedResource => ({
    typeUrl: "t",
    name,
    version: "v",
    savedAtMs: 1,
    usedAtMs,
    bytes: Buffer.from(text),
  });
  const texts = async (store = open()) =>
    (await store.load()).map(({ name, bytes }) => [name, Buffer.from(bytes).toString()]);

  it("keeps what was put, latest use first, and forgets what was removed", async () => {
    const store = open();
    await store.load();
    store.put(resource("a", "1", 1));
    store.put(resource("b", "2", 3));
    store.put(resource("c", "3", 2));
    store.put(resource("a", "4", 1));
    store.remove("t", "c");
    await store.settled();
    assert.deepEqual(await texts(), [
      ["b", "2"],
      ["a", "4"],
    ]);
  });

  it("is the same after its journal was folded into the snapshot", async () => {
    const store = open();
    await store.load();
    store.put(resource("a", "1"));
    await store.compact();
    store.put(resource("b", "2"));
    store.remove("t", "a");
    await store.settled();
    assert.deepEqual(await texts(), [["b", "2"]]);
  });

  it("survives a journal that ends anywhere: every cut gives a prefix of what was written", async () => {
    const store = open();
    await store.load();
    for (let i = 0; i < 4; i++) store.put(resource(`r${i}`, "x".repeat(i)));
    await store.settled();
    const journal = join(directory, "lkg.log");
    const whole = readFileSync(journal);
    for (let cut = whole.length; cut >= 0; cut--) {
      truncateSync(journal, cut);
      const loaded = await open().load();
      assert.ok(loaded.every(({ name, bytes }) => bytes.length === Number(name.slice(1))));
      writeFileSync(journal, whole.subarray(0, cut));
    }
  });

  it("goes on behind a torn line", async () => {
    const store = open();
    await store.load();
    store.put(resource("a", "1"));
    await store.settled();
    appendFileSync(join(directory, "lkg.log"), "deadbeef {torn");
    const next = open();
    await next.load();
    next.put(resource("b", "2"));
    await next.settled();
    assert.equal((await open().load()).length, 2);
  });

  it("skips damaged lines and keeps the others: nothing in its files can stop a start", async () => {
    const store = open();
    await store.load();
    for (const name of ["a", "b", "c"]) store.put(resource(name, name));
    await store.compact();
    const file = join(directory, "lkg.snap");
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at += 7) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 0x20;
      writeFileSync(file, damaged);
      const loaded = await open().load();
      assert.ok(loaded.length >= 1, `byte ${at}`);
      for (const saved of loaded) assert.equal(Buffer.from(saved.bytes).toString(), saved.name);
    }
    writeFileSync(file, Buffer.from([0, 255, 254, 10, 10, 0]));
    assert.deepEqual(await open().load(), []);
  });

  it("starts without a directory it may write to", async () => {
    writeFileSync(join(directory, "file"), "");
    const store = new LastKnownGood(join(directory, "file"), new ManualClock(), silentLog);
    assert.deepEqual(await store.load(), []);
    store.put(resource("a", "1"));
    await store.settled();
    await store.compact();
  });
});
