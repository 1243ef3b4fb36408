import assert from "node:assert/strict";
import type { CommitLog } from "../../../../broker-core/commit-log/commit-log.ts";
import { crc32 } from "../../../../broker-core/commit-log/crc32.ts";
import { type LogRecord, RecordType } from "../../../../broker-core/commit-log/log.ts";
import { type OpenCommitLogOptions, openCommitLog } from "../../../../broker-core/commit-log/open-commit-log.ts";
import { StorageError } from "../../../../broker-core/storage/storage.ts";
import { Code } from "../../../../proto/code.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";
import type { Randomness } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ManualClock, settle } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

/** A crash asks for the fraction that survives; 0 answers every question with "nothing". */
const losesEverythingUnsynced: Randomness = {
  fraction: () => 0,
  uint32: () => 0,
  bytes: (count) => Buffer.alloc(count),
};

describe("CommitLog", () => {
  let disk: SimulatedDisk;
  let clock: ManualClock;
  let failures: StorageError[];
  beforeEach(() => {
    disk = new SimulatedDisk();
    failures = [];
  });

  const open = async (options: Partial<OpenCommitLogOptions> = {}) => {
    clock = new ManualClock();
    disk.clock = clock;
    const visited: { position: number; text: string; nextPosition: number }[] = [];
    const opened = await openCommitLog({
      storage: disk,
      clock,
      randomness: new SeededRandomness(1),
      log: silentLog,
      segmentBytes: 64 * 1024,
      from: undefined,
      visit: ({ position, body, nextPosition }: LogRecord) =>
        visited.push({ position, text: body.toString("latin1"), nextPosition }),
      onFailure: (error) => failures.push(error),
      ...options,
    });
    return { ...opened, visited };
  };
  const append = (log: CommitLog, text: string, type: RecordType = RecordType.Message): number => {
    const body = Buffer.from(text, "latin1");
    return log.append(type, body.length, (into, at) => body.copy(into, at));
  };
  const hasCode = (code: Code) => (error: unknown) => error instanceof MeshError && error.code === code;

  describe("batches", () => {
    it("leave with one write at the end of the turn and are durable only after their sync", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.syncDelayMs = () => 5;
      const events: string[] = [];
      const writes = disk.calls.write;
      for (const name of ["a", "b", "c"]) {
        const position = append(log, name);
        log.whenDurable(position, () => events.push(`${name} durable`));
        log.whenWritten(position, () => events.push(`${name} written`));
      }
      assert.equal(disk.calls.write, writes);
      assert.equal(log.writtenPosition, 0);
      await settle();
      assert.equal(disk.calls.write, writes + 1);
      assert.equal(log.writtenPosition, log.endPosition);
      assert.equal(log.durablePosition, 0);
      assert.deepEqual(events, ["a written", "b written", "c written"]);
      await clock.advanceAndSettle(5);
      assert.equal(log.durablePosition, log.endPosition);
      assert.deepEqual(events.slice(3), ["a durable", "b durable", "c durable"]);
    });

    it("share a sync with all that were written while the one before ran", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.syncDelayMs = () => 10;
      const syncs = disk.calls.sync;
      for (let i = 0; i < 10; i++) {
        append(log, `${i}`);
        await clock.advanceAndSettle(1);
      }
      await clock.advanceAndSettle(20);
      assert.equal(log.durablePosition, log.endPosition);
      assert.equal(disk.calls.sync - syncs, 2, "the first batch, then the nine others together");
    });

    it("go with the sync that begins when one ends, with all that the turn has appended by then", async () => {
      const turns = new ManualClock({ automaticTurns: false });
      const { log } = await open({ clock: turns });
      disk.clock = turns;
      disk.syncDelayMs = () => 10;
      turns.after(10, () => void append(log, "in the turn in which the first sync ends"));
      append(log, "first");
      turns.endTurn();
      await turns.advanceAndSettle(5);
      append(log, "while it runs");
      turns.endTurn();
      await turns.advanceAndSettle(5);
      turns.endTurn();
      await turns.advanceAndSettle(10);
      assert.equal(log.durablePosition, log.endPosition);
    });

    it("of hand-outs alone begin no sync, so that the ack behind them does not wait for it; they are synced within 20 ms", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.syncDelayMs = () => 10;
      const syncs = disk.calls.sync;
      append(log, "hand-out", RecordType.Pop);
      append(log, "extension", RecordType.Change);
      await settle();
      assert.equal(log.writtenPosition, log.endPosition);
      assert.equal(disk.calls.sync, syncs);
      append(log, "ack", RecordType.Ack);
      await clock.advanceAndSettle(10);
      assert.equal(log.durablePosition, log.endPosition);
      assert.equal(disk.calls.sync, syncs + 1);

      append(log, "hand-out", RecordType.Pop);
      await clock.advanceAndSettle(30);
      assert.equal(log.durablePosition, log.endPosition);

      // Who waits for one all the same does not wait for long.
      const position = append(log, "hand-out of a message group", RecordType.Pop);
      await settle();
      let isDurable = false;
      log.whenDurable(position, () => {
        isDurable = true;
      });
      await clock.advanceAndSettle(10);
      assert.ok(isDurable);
    });

    it("hold at most 1 MiB; a longer record stands alone", async () => {
      const { log } = await open({ segmentBytes: 8 * 1024 * 1024 });
      await clock.advanceAndSettle(5000);
      const writes = disk.calls.write;
      for (let i = 0; i < 5; i++) append(log, "x".repeat(500_000));
      append(log, "y".repeat(2_000_000));
      append(log, "z");
      await settle();
      assert.equal(disk.calls.write - writes, 5, "2 + 2 + 1 of 500 kB, one of 2 MB, one of 1 byte");
      log.abandon();
      disk.kill();
      const { visited } = await open({ segmentBytes: 8 * 1024 * 1024 });
      assert.deepEqual(
        visited.map(({ text }) => text.length),
        [500_000, 500_000, 500_000, 500_000, 500_000, 2_000_000, 1],
      );
    });

    it("are not touched by a record whose writer throws", async () => {
      const { log } = await open();
      const boom = () => {
        throw new Error("boom");
      };
      assert.throws(() => log.append(RecordType.Ack, 10, boom), /boom/);
      append(log, "a");
      assert.throws(() => log.append(RecordType.Ack, 10, boom), /boom/);
      const position = append(log, "b");
      await settle();
      assert.equal(log.read(position).body.toString(), "b");
      log.abandon();
      disk.kill();
      const { visited } = await open();
      assert.deepEqual(
        visited.map(({ text }) => text),
        ["a", "b"],
      );
    });

    it("refuse what no segment can hold", async () => {
      const { log } = await open();
      assert.throws(() => append(log, "x".repeat(64 * 1024)), hasCode(Code.PayloadTooLarge));
    });
  });

  describe("reading", () => {
    for (const tailRingBytes of [0, 4096]) {
      it(`gives each record with its neighbour's position (ring of ${tailRingBytes} bytes)`, async () => {
        const { log } = await open({ tailRingBytes });
        const positions: number[] = [];
        for (let i = 0; i < 200; i++) {
          positions.push(append(log, `${i} `.repeat(i % 40)));
          if (i % 7 === 0) await clock.advanceAndSettle(3);
        }
        await settle();
        for (const [i, position] of positions.entries()) {
          const record = log.read(position);
          assert.equal(record.body.toString(), `${i} `.repeat(i % 40));
          assert.equal(record.type, RecordType.Message);
          assert.equal(record.nextPosition, position + 28 + record.body.length);
        }
      });
    }

    it("names the range of a damaged record and goes on with the others", async () => {
      const { log } = await open({ tailRingBytes: 0 });
      const [first, second, third] = [append(log, "first"), append(log, "second"), append(log, "third")];
      await settle();
      disk.alter("log/00000000000000000000.log", (bytes) => {
        bytes[bytes.indexOf("second") + 2]! ^= 4;
      });
      assert.throws(
        () => log.read(second),
        (error) =>
          error instanceof StorageError && error.kind === "io" && error.message.includes(`[${second}, ${third})`),
      );
      assert.equal(log.read(first).body.toString(), "first");
      assert.equal(log.read(third).body.toString(), "third");
    });

    it("of what is not written yet, or of no record, is a mistake of the caller", async () => {
      const { log } = await open();
      const position = append(log, "a");
      assert.throws(() => log.read(position), RangeError);
      await settle();
      assert.throws(() => log.read(position + 1), RangeError);
    });
  });

  describe("on a full disk", () => {
    const fillUp = async (log: CommitLog): Promise<number> => {
      let count = 0;
      for (; log.takesMessages; count++) {
        append(log, "m".repeat(500));
        await settle();
      }
      return count;
    };

    it("refuses messages, takes acks from the reserve, and goes on within a second when there is room (B13)", async () => {
      const { log } = await open();
      disk.capacityBytes = disk.sizeOf("log/00000000000000000000.log") + 2000;
      await clock.advanceAndSettle(100);
      const before = await fillUp(log);
      assert.ok(before > 50, `${before} messages before the reserve`);
      assert.throws(() => append(log, "m"), hasCode(Code.TooManyRequests));
      for (let i = 0; i < 100; i++) append(log, "ack", RecordType.Ack);
      await settle();
      assert.equal(log.durablePosition, log.endPosition);
      assert.deepEqual(
        disk.list("log").filter((name) => name.endsWith(".tmp")),
        [],
        "the try has given its space back",
      );
      disk.capacityBytes = Number.POSITIVE_INFINITY;
      await clock.advanceAndSettle(1010);
      assert.ok(log.takesMessages);
      const after = append(log, "back");
      await settle();
      assert.ok(log.durablePosition > after);
      assert.deepEqual(failures, []);
    });

    it("takes releases of what is stored from half of the reserve, and acks from the rest", async () => {
      const { log } = await open();
      disk.capacityBytes = disk.sizeOf("log/00000000000000000000.log") + 2000;
      await clock.advanceAndSettle(100);
      await fillUp(log);
      let releases = 0;
      for (; log.takesReleases; releases++) append(log, "r".repeat(52), RecordType.Due);
      assert.ok(releases >= 20, `${releases} releases when no message is taken any more`);
      assert.throws(() => append(log, "r", RecordType.Due), hasCode(Code.TooManyRequests));
      for (let i = 0; i < releases / 2; i++) append(log, "ack", RecordType.Ack);
      await settle();
      assert.equal(log.durablePosition, log.endPosition);
    });

    it("refuses even acks at the very end of the reserve, and forgets none it took", async () => {
      const { log } = await open();
      disk.capacityBytes = 0;
      let taken = 0;
      assert.throws(() => {
        for (; ; taken++) append(log, `${taken}`.padEnd(500), RecordType.Ack);
      }, hasCode(Code.TooManyRequests));
      await settle();
      log.abandon();
      disk.kill();
      disk.capacityBytes = Number.POSITIVE_INFINITY;
      const { visited } = await open();
      assert.equal(visited.length, taken);
    });

    it("writes a batch again from its start when the file system takes only a part of it", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.fail({ call: "write", at: 1, kind: "full", shortBytes: 40 });
      disk.fail({ call: "write", at: 2, kind: "full" });
      let durable = 0;
      for (const name of ["a", "b"]) log.whenDurable(append(log, name.repeat(100)), () => durable++);
      await settle();
      assert.equal(durable, 0);
      assert.ok(!log.takesMessages);
      assert.throws(() => append(log, "c", RecordType.Ack), hasCode(Code.TooManyRequests));
      await clock.advanceAndSettle(1000);
      assert.equal(durable, 2);
      assert.ok(log.takesMessages);
      disk.crash(new SeededRandomness(1));
      const { visited } = await open();
      assert.deepEqual(
        visited.map(({ text }) => text[0]),
        ["a", "b"],
      );
    });

    it("that turned read-only says so, and goes on when it can be written", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.fail({ call: "write", at: 1, kind: "read-only", sticky: true });
      const position = append(log, "a");
      await settle();
      assert.throws(() => append(log, "b"), hasCode(Code.InternalServerError));
      disk.heal();
      await clock.advanceAndSettle(1000);
      assert.ok(log.durablePosition > position);
      assert.deepEqual(failures, []);
    });
  });

  describe("on a failing disk", () => {
    it("tells its owner once and reports nothing durable any more (B12)", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.fail({ call: "sync", at: 1, kind: "io" });
      let durable = 0;
      log.whenDurable(append(log, "a"), () => durable++);
      await settle();
      assert.equal(failures.length, 1);
      assert.throws(() => append(log, "b", RecordType.Ack), hasCode(Code.InternalServerError));
      await clock.advanceAndSettle(10_000);
      assert.equal(durable, 0);
      assert.equal(failures.length, 1);
      assert.equal(clock.pendingTimers, 0);
    });

    it("that cannot write is the same", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.fail({ call: "write", at: 1, kind: "io" });
      append(log, "a");
      await settle();
      assert.equal(failures.length, 1);
    });

    it("that hangs in a sync for 10 s gets no new messages until it answers", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      disk.syncDelayMs = () => 15_000;
      append(log, "a");
      await clock.advanceAndSettle(9000);
      assert.ok(log.takesMessages);
      await clock.advanceAndSettle(2500);
      assert.ok(!log.takesMessages);
      append(log, "ack", RecordType.Ack);
      await clock.advanceAndSettle(4000);
      assert.ok(log.takesMessages);
    });

    it("that is slow bounds what waits for it", async () => {
      const { log } = await open({ undurableBytesMax: 4000 });
      await clock.advanceAndSettle(50);
      disk.syncDelayMs = () => 50;
      let count = 0;
      for (; log.takesMessages; count++) append(log, "m".repeat(400));
      assert.ok(count >= 9 && count <= 11, `${count}`);
      assert.throws(() => append(log, "m"), hasCode(Code.TooManyRequests));
      await clock.advanceAndSettle(60);
      assert.ok(log.takesMessages);
    });
  });

  describe("at rest", () => {
    it("has its durable position on disk within 100 ms, so that a shortened file is seen as damage", async () => {
      const { log } = await open();
      append(log, "a");
      append(log, "b");
      await settle();
      const end = log.endPosition;
      await clock.advanceAndSettle(100);
      log.abandon();
      disk.kill();
      disk.resize("log/00000000000000000000.log", 1024 + 60);
      const { recovery } = await open();
      assert.deepEqual(
        recovery.damage.map(({ from, to }) => ({ from, to })),
        [{ from: 56, to: end }],
      );
      assert.equal(recovery.end, end, "a position is never used twice");
    });

    it("goes on in the same file after a kill", async () => {
      const { log } = await open();
      append(log, "a");
      await clock.advanceAndSettle(200);
      log.abandon();
      disk.kill();
      const { recovery, visited } = await open();
      assert.equal(recovery.action, "continue");
      assert.equal(visited.length, 1);
    });

    it("writes no mark twice for the same position", async () => {
      const { log } = await open();
      append(log, "a");
      await clock.advanceAndSettle(200);
      const { write } = disk.calls;
      await clock.advanceAndSettle(10_000);
      assert.equal(disk.calls.write, write);
    });
  });

  describe("segments", () => {
    it("roll into a file that stands ready, with a gap that no reader sees", async () => {
      const { log } = await open();
      const texts: string[] = [];
      for (let i = 0; i < 500; i++) {
        texts.push(`${i}`.padEnd(700, "."));
        append(log, texts.at(-1)!);
        if (i % 10 === 0) await clock.advanceAndSettle(5);
      }
      await clock.advanceAndSettle(200);
      assert.ok(disk.list("log").length > 5);
      log.abandon();
      disk.crash(new SeededRandomness(2));
      const { visited } = await open();
      assert.deepEqual(
        visited.map(({ text }) => text),
        texts,
      );
    });

    it("may begin with anything but zeros: what an earlier life left is told by epoch and position", async () => {
      const { log } = await open();
      for (let i = 0; i < 20; i++) append(log, `old ${i}`.padEnd(300));
      await clock.advanceAndSettle(200);
      log.abandon();
      disk.kill();
      // A file system, or a recycling release, may hand out the next file full of old frames.
      const old = disk.contents("log/00000000000000000000.log");
      const next = `log/${String(64 * 1024 - 1024).padStart(20, "0")}.log`;
      disk.alter(next, (bytes) => old.copy(bytes, 1024, 1024));
      const { visited, log: second } = await open();
      assert.equal(visited.length, 20);
      append(second, "new");
      await settle();
      second.abandon();
      disk.kill();
      const third = await open();
      assert.equal(third.visited.length, 21);
      assert.deepEqual(third.recovery.damage, []);
    });
  });

  describe("a start", () => {
    it("replays from a checkpoint only what lies behind it", async () => {
      const { log } = await open();
      append(log, "before");
      await settle();
      const from = log.syncedPosition;
      append(log, "behind");
      await settle();
      log.abandon();
      disk.kill();
      const { visited } = await open({ from });
      assert.deepEqual(
        visited.map(({ text }) => text),
        ["behind"],
      );
    });

    it("may fail at any call, twice in a row, and then lose power: nothing acknowledged is lost", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(50);
      for (let i = 0; i < 10; i++) {
        append(log, `${i}`);
        // The last batches find the first ones durable: a recovery has to cut this file and to write its tail anew.
        if (i % 3 === 0) await settle();
      }
      await settle();
      assert.equal(log.durablePosition, log.endPosition);
      log.abandon();
      const [loaded, end] = [disk, log.endPosition];
      const failpoints = (["sync", "syncDirectory", "rename", "truncate", "unlink", "write", "open"] as const).flatMap(
        (call) => [1, 2, 3, 4].map((at) => ({ call, at, kind: "io" as const })),
      );
      let interrupted = 0;
      for (const first of failpoints) {
        for (const second of failpoints) {
          disk = loaded.copy();
          // The second start comes with a checkpoint: it knows all to be durable and sees no reason to write anything anew.
          for (const [fault, from] of [[first, undefined] as const, [second, end] as const]) {
            disk.fail(fault);
            await open({ from }).then(
              (opened) => opened.log.abandon(),
              () => interrupted++,
            );
            disk.kill();
          }
          disk.crash(losesEverythingUnsynced);
          const { visited, log: last } = await open();
          last.abandon();
          assert.equal(visited.length, 10, JSON.stringify([first, second]));
        }
      }
      assert.ok(interrupted > failpoints.length ** 2 / 2, `only ${interrupted} starts were interrupted`);
    });

    it("never shows again what an earlier start cut off, not even when the file that replaced it is lost", async () => {
      const { log } = await open();
      await clock.advanceAndSettle(100);
      append(log, "1");
      await settle();
      disk.syncDelayMs = () => 60_000;
      const positions: number[] = [];
      for (const text of ["2", "3", "4", "5", "6"]) {
        positions.push(append(log, text));
        await settle();
      }
      log.abandon();
      disk.kill();
      disk.syncDelayMs = undefined;
      disk.alter("log/00000000000000000000.log", (bytes) =>
        bytes.fill(0, 1024 + positions[2]!, 1024 + positions[2]! + 4),
      );
      const second = await open();
      assert.equal(second.visited.map(({ text }) => text).join(""), "123");
      for (const text of ["x", "y", "z"]) {
        append(second.log, text);
        await settle();
      }
      await clock.advanceAndSettle(100);
      second.log.abandon();
      disk.kill();
      disk.remove(`log/${String(second.recovery.durable).padStart(20, "0")}.log`);
      const third = await open();
      assert.equal(third.visited.map(({ text }) => text).join(""), "1");
      assert.equal(third.recovery.damage.length, 1);
    });

    it("lists what is lost in damage.json, once", async () => {
      const { log } = await open();
      const positions = ["a", "b", "c"].map((text) => append(log, text.repeat(100)));
      await clock.advanceAndSettle(200);
      log.abandon();
      disk.alter("log/00000000000000000000.log", (bytes) =>
        bytes.fill(0, 1024 + positions[1]!, 1024 + positions[1]! + 5),
      );
      for (let start = 0; start < 3; start++) {
        disk.kill();
        const { recovery, log: again } = await open();
        assert.deepEqual(recovery.damage, [
          { from: positions[1], to: positions[2], recordCount: 1, path: "log/00000000000000000000.log" },
        ]);
        again.abandon();
      }
      const { ranges } = JSON.parse(disk.contents("damage.json").toString()) as { ranges: { from: number }[] };
      assert.deepEqual(
        ranges.map(({ from }) => from),
        [positions[1]],
      );
    });

    it("keeps lost what a start has gone on without, also when it can be read again, and tells from where on that is known", async () => {
      const path = "log/00000000000000000000.log";
      const { log } = await open();
      const positions = ["a", "b", "c"].map((text) => append(log, text.repeat(100)));
      await clock.advanceAndSettle(200);
      log.abandon();
      disk.kill();
      const whole = disk.contents(path);
      const told: string[] = [];
      const damage = {
        lost: (from: number) => told.push(`lost ${positions.indexOf(from)}`),
        known: () => told.push("known"),
      };
      disk.alter(path, (bytes) => bytes.fill(0, 1024 + positions[1]!, 1024 + positions[1]! + 5));
      const second = await open({ damage });
      assert.deepEqual(told.splice(0), ["lost 1"]);
      append(second.log, "d");
      await clock.advanceAndSettle(200);
      second.log.abandon();
      disk.kill();
      disk.alter(path, (bytes) => whole.copy(bytes, 1024 + positions[1]!, 1024 + positions[1]!, 1024 + positions[2]!));
      const third = await open({ damage });
      assert.deepEqual(told.splice(0), ["lost 1", "known"]);
      assert.deepEqual(
        third.visited.map(({ text }) => text[0]),
        ["a", "c", "d"],
      );
      third.log.abandon();
      disk.kill();
      // Who begins the log anew has nothing to do with what the old one lost.
      for (const old of disk.paths().filter((each) => each.startsWith("log/"))) disk.remove(old);
      const anew = await open({ damage });
      assert.deepEqual(told.splice(0), []);
      for (const text of ["e", "f", "g", "h"]) append(anew.log, text.repeat(100));
      await clock.advanceAndSettle(200);
      anew.log.abandon();
      disk.kill();
      assert.equal((await open({ damage })).visited.length, 4);
      assert.deepEqual(told, []);
    });

    it("refuses a log of a newer release and leaves its bytes alone", async () => {
      const path = "log/00000000000000000000.log";
      const { log } = await open();
      log.append(99 as RecordType, 0, () => {});
      await settle();
      log.abandon();
      disk.kill();
      const bytes = disk.contents(path);
      await assert.rejects(open(), /type 99 .* unknown to this release/);
      disk.kill();
      disk.alter(path, (header) => {
        header.writeUInt16BE(2, 4);
        header.writeUInt32BE(crc32(header, 0, 52), 52);
      });
      await assert.rejects(open(), /format 2; this release knows 1/);
      assert.ok(disk.contents(path).equals(Buffer.concat([disk.contents(path).subarray(0, 56), bytes.subarray(56)])));
    });
  });

  describe("with flush async", () => {
    it("reports durable what is only written, and still knows what really is", async () => {
      const { log } = await open({ flush: "async" });
      await clock.advanceAndSettle(50);
      let durable = 0;
      log.whenDurable(append(log, "a"), () => durable++);
      await settle();
      assert.equal(durable, 1);
      assert.equal(log.durablePosition, log.endPosition);
      assert.equal(log.syncedPosition, 0);
      await clock.advanceAndSettle(500);
      assert.equal(log.syncedPosition, log.endPosition);
      disk.crash(new SeededRandomness(1));
      assert.equal((await open()).visited.length, 1);
    });

    it("survives a kill with a tail of many segments", async () => {
      const { log } = await open({ flush: "async", segmentBytes: 16 * 1024 });
      disk.syncDelayMs = undefined;
      let count = 0;
      for (; count < 300; count++) {
        while (!log.takesMessages) await clock.advanceAndSettle(3);
        append(log, `${count}`.padEnd(300));
        await settle();
      }
      log.abandon();
      disk.kill();
      const { visited } = await open({ segmentBytes: 16 * 1024 });
      assert.equal(visited.length, count);
    });
  });
});
