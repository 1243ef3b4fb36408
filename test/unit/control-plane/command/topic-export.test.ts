import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import { type ExportedItem, ExportReader, ExportWriter } from "../../../../control-plane/command/topic-export.ts";

describe("the files of an exported topic", () => {
  let directory: string;
  let folders = 0;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-export-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const item = (id: string, parts: Partial<ExportedItem>): ExportedItem => ({
    ...{ storedMs: 1, bornHost: "h", laneMark: "" },
    message: Buffer.from(
      apache.rocketmq.v2.Message.encode({ systemProperties: { messageId: id }, body: Buffer.from(id) }).finish(),
    ).toString("base64"),
    ...parts,
  });
  const write = (items: readonly ExportedItem[]) => {
    const folder = join(directory, `${folders++}`);
    const writer = new ExportWriter(folder);
    for (const one of items) writer.add("broker-a", one);
    return { folder, head: writer.finish({ topic: "t", namespace: "default", spec: {}, exportedAt: "" }) };
  };
  const early = item("early", { dueMs: 1_000, timedNumber: 7 });
  const late = item("late", { dueMs: 2_000, timedNumber: 5 });
  const visible = item("visible", { queueId: 0, offset: 0 });

  it("have one digest in whatever order the waiting messages come, and another one for another time", () => {
    const { head, folder } = write([early, late, visible]);
    assert.deepEqual([head.messages, head.waiting, head.version], [3, 2, 2]);
    assert.equal(write([late, early, visible]).head.digest, head.digest);
    assert.notEqual(write([{ ...late, dueMs: 2_001 }, early, visible]).head.digest, head.digest);
    const reader = new ExportReader(folder);
    assert.deepEqual(
      reader.verified().map(({ messageId, queueId, dueMs }) => [messageId, queueId, dueMs]),
      [
        ["early", null, 1_000],
        ["late", null, 2_000],
        ["visible", 0, undefined],
      ],
    );
    reader.close();
  });

  it("hold a message once that was released while it was exported, as one that waits", () => {
    const released = item("early", { queueId: 1, offset: 3, timedNumber: 7 });
    const before = item("released before", { queueId: 1, offset: 2, timedNumber: 6 });
    const { head, folder } = write([early, before, released]);
    assert.deepEqual([head.messages, head.waiting], [2, 1]);
    const reader = new ExportReader(folder);
    assert.deepEqual(
      reader.verified().map(({ messageId }) => messageId),
      ["early", "released before"],
    );
    reader.close();
  });

  it("of version 1 are read, of a later one refused", () => {
    const { folder } = write([visible]);
    const path = join(folder, "export.json");
    const head = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...head, version: 1 }));
    const reader = new ExportReader(folder);
    assert.equal(reader.verified().length, 1);
    reader.close();
    writeFileSync(path, JSON.stringify({ ...head, version: 3 }));
    assert.throws(() => new ExportReader(folder), /has format popmesh-topic-export 3, not 2/);
  });
});
