import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeStorage } from "../../../../broker-core/storage/node-storage.ts";
import { quarantine } from "../../../../broker-core/storage/quarantine.ts";
import { StorageError, writeWhole } from "../../../../broker-core/storage/storage.ts";

describe("NodeStorage", () => {
  let directory = "";
  let storage: NodeStorage;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-storage-"));
    storage = new NodeStorage(directory, "boot-1");
  });
  afterEach(() => {
    storage.unlock();
    rmSync(directory, { recursive: true });
  });
  const hasKind = (kind: string) => (error: unknown) => error instanceof StorageError && error.kind === kind;

  it("writes, reads, cuts, syncs, renames and removes", async () => {
    const file = storage.open("a/b.bin", { create: true });
    writeWhole(file, Buffer.from("hello world"), 0);
    await file.sync();
    file.truncate(5);
    assert.equal(file.sizeBytes(), 5);
    const into = Buffer.alloc(8);
    assert.equal(file.read(into, 1, 8, 0), 5);
    assert.equal(into.toString("latin1", 1, 6), "hello");
    assert.equal(await file.readCold(into, 0, 8, 1), 4);
    file.close();
    storage.rename("a/b.bin", "a/c.bin");
    await storage.syncDirectory("a");
    assert.deepEqual(storage.list("a"), ["c.bin"]);
    storage.unlink("a/c.bin");
    assert.deepEqual(storage.list("a"), []);
    assert.deepEqual(storage.list("nowhere"), []);
    assert.ok(storage.freeBytes() > 0);
    assert.equal(storage.writtenBytes, "hello world".length);
  });

  it("names what is missing", () => {
    assert.throws(() => storage.open("absent", { create: false }), hasKind("missing"));
    assert.throws(() => storage.unlink("absent"), hasKind("missing"));
  });

  it("tells a full file system from a broken one", () => {
    // A size limit makes the kernel answer EFBIG, which stands for "full"; it holds for a whole process, so for a child.
    const script = `
      import { NodeStorage } from ${JSON.stringify(new URL("../../../../broker-core/storage/node-storage.js", import.meta.url).href)};
      process.on("SIGXFSZ", () => {});
      const file = new NodeStorage(${JSON.stringify(directory)}, "b").open("f", { create: true });
      const counts = [];
      try { for (let i = 0; i < 100; i++) counts.push(file.write(Buffer.alloc(3000), 0, 3000, i * 3000)); }
      catch (error) { console.log(JSON.stringify({ kind: error.kind, last: counts.at(-1) })); }`;
    const command = `ulimit -f 16; exec "$0" --input-type=module -e "$1"`;
    const run = spawnSync("bash", ["-c", command, process.execPath, script], { encoding: "utf8" });
    const { kind, last } = JSON.parse(run.stdout) as { kind: string; last: number };
    assert.equal(kind, "full", run.stderr);
    assert.ok(last < 3000, "a short count comes before the error");
  });

  it("is taken by one holder at a time", () => {
    storage.lock();
    const second = new NodeStorage(directory, "boot-1");
    assert.throws(() => second.lock(), hasKind("locked"));
    storage.unlock();
    second.lock();
    second.unlock();
    assert.ok(!existsSync(join(directory, "lock")));
  });

  it("refuses while another live process holds it and says which", () => {
    const [pid, startTime] = [process.ppid, startTimeOf(process.ppid)];
    writeFileSync(join(directory, "lock"), JSON.stringify({ pid, bootId: "boot-1", startTime }));
    assert.throws(() => storage.lock(), new RegExp(`process ${pid} holds it`));
  });

  it("takes over from a dead process, another boot, a reused pid and a torn file", () => {
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    const parent = process.ppid;
    for (const left of [
      JSON.stringify({ pid: dead, bootId: "boot-1", startTime: "1" }),
      JSON.stringify({ pid: parent, bootId: "boot-0", startTime: startTimeOf(parent) }),
      JSON.stringify({ pid: parent, bootId: "boot-1", startTime: "1" }),
      JSON.stringify({ pid: process.pid, bootId: "boot-1", startTime: startTimeOf(process.pid) }),
      '{"pid":',
    ]) {
      writeFileSync(join(directory, "lock"), left);
      storage.lock();
      assert.equal(JSON.parse(readFileSync(join(directory, "lock"), "utf8")).pid, process.pid, left);
      storage.unlock();
    }
    assert.deepEqual(storage.list(""), []);
  });

  it("moves to quarantine without overwriting what is there", () => {
    for (const expected of ["quarantine/x.log", "quarantine/x.log.1", "quarantine/x.log.2"]) {
      storage.open("log/x.log", { create: true }).close();
      assert.equal(quarantine(storage, "log/x.log"), expected);
    }
    assert.deepEqual(storage.list("quarantine"), ["x.log", "x.log.1", "x.log.2"]);
  });
});

function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}
