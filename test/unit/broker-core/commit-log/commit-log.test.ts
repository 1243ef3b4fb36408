import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { openCommitLog } from "../../../../broker-core/commit-log/open-commit-log.ts";
import { NodeStorage } from "../../../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../../../proto/runtime/node-randomness.ts";

describe("CommitLog on the real disk", () => {
  let directory = "";
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-log-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const open = async (segmentBytes = 256 * 1024) => {
    const clock = new NodeClock();
    const bodies: string[] = [];
    const opened = await openCommitLog({
      storage: new NodeStorage(directory, clock.bootId),
      clock,
      randomness: new NodeRandomness(),
      log: silentLog,
      segmentBytes,
      from: undefined,
      visit: (record) => bodies.push(`${record.type}:${record.body.toString()}`),
      onFailure: (error) => assert.fail(error.message),
    });
    return { ...opened, bodies };
  };
  const append = (log: Awaited<ReturnType<typeof open>>["log"], text: string) => {
    const bytes = Buffer.from(text);
    return log.append(RecordType.Message, bytes.length, (into, at) => bytes.copy(into, at));
  };
  const durable = (log: Awaited<ReturnType<typeof open>>["log"], position: number) =>
    new Promise<void>((resolve) => log.whenDurable(position, resolve));

  it("gives back after a clean stop what was appended, and goes on in the same file", async () => {
    const first = await open();
    const position = append(first.log, "one");
    await durable(first.log, position);
    assert.equal(first.log.read(position).body.toString(), "one");
    await first.log.close();
    const second = await open();
    assert.deepEqual(second.bodies, ["10:one"]);
    assert.equal(second.recovery.action, "continue");
    await second.log.close();
  });

  it("gives back after a kill what was written, through many segments", async () => {
    const first = await open();
    let last = 0;
    const expected: string[] = [];
    for (let i = 0; i < 2000; i++) {
      const text = `${i}`.padEnd(1000, "x");
      while (!first.log.takesMessages) await new Promise((resolve) => setImmediate(resolve));
      last = append(first.log, text);
      expected.push(`10:${text}`);
      if (i % 50 === 0) await durable(first.log, last);
    }
    await durable(first.log, last);
    first.log.abandon();
    const second = await open();
    assert.deepEqual(second.bodies, expected);
    assert.deepEqual(second.recovery.damage, []);
    await durable(second.log, append(second.log, "behind"));
    await second.log.close();
    const third = await open();
    assert.deepEqual(third.bodies, [...expected, "10:behind"]);
    await third.log.close();
  });
});
