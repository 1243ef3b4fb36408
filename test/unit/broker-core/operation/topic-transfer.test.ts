import assert from "node:assert/strict";
import type { Operated } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

interface Page {
  readonly items: readonly { timedNumber?: number; dueMs?: number; storedMs: number; message: string }[];
  readonly damaged: readonly number[];
  readonly next: number | null;
  readonly openTransactions?: number;
}

const delayed = 1 << 3;
const transactional = 1 << 4;

describe("exporting what waits for its time", () => {
  const opened = () => {
    const f = new BrokerFixture();
    const t = f.topic("ns/alarms", { messageTypes: delayed | transactional, queueCount: 2 });
    const ask = (queueId: number | null, from = 0) =>
      f.state.operate("topic.export", { topic: "ns/alarms", queueId, from }, f.now);
    const pageOf = (said: Operated): Page => {
      assert.ok(said.ok, said.ok ? "" : said.message);
      return said.result as Page;
    };
    return { f, t, ask, pageOf, page: async (queueId: number | null, from = 0) => pageOf(await ask(queueId, from)) };
  };

  it("tells time and number, and the number again when it was released meanwhile", async () => {
    const { f, t, page } = opened();
    const dueMs = f.wallMs + 1_000;
    f.sendTimed(t, dueMs, { id: "one" });
    f.sendTimed(t, dueMs + 5, { id: "two" });
    f.sendHalf(t, { id: "open" });
    const storedMs = f.wallMs;
    const waiting = await page(null);
    assert.deepEqual(
      waiting.items.map((item) => [item.timedNumber, item.dueMs, item.storedMs]),
      [
        [1, dueMs, storedMs],
        [2, dueMs + 5, storedMs],
      ],
    );
    assert.deepEqual([waiting.next, waiting.openTransactions], [null, 1]);
    f.pass(1_000);
    const visible = (await Promise.all([page(0), page(1)])).flatMap(({ items }) => items);
    assert.deepEqual(
      visible.map(({ timedNumber, dueMs: due }) => [timedNumber, due]),
      [[1, undefined]],
    );
    assert.equal(visible[0]?.message, waiting.items[0]?.message);
  });

  it("gives every message once over its pages, whatever is carried, taken back and sent in between", async () => {
    const { f, t, page } = opened();
    const handles = Array.from({ length: 1_300 }, (_, i) => f.sendTimed(t, f.wallMs + 60_000 + (i % 7)));
    const numbers: number[] = [];
    let pages = 0;
    for (let from: number | null = 0; from !== null; pages++) {
      const { items, next }: Page = await page(null, from);
      numbers.push(...items.map(({ timedNumber }) => timedNumber!));
      from = next;
      const end = f.log.endPosition;
      while (!f.state.carryBefore(end, f.now).isFinished);
      f.sync();
      assert.ok(f.recall(t, handles[pages]!).ok);
      f.sendTimed(t, f.wallMs + 60_000);
    }
    assert.ok(pages >= 3, `${pages} pages`);
    assert.equal(new Set(numbers).size, numbers.length);
    assert.deepEqual(
      Array.from({ length: 1_300 }, (_, i) => i + 1).filter((number) => !numbers.includes(number)),
      [],
    );
  });

  it("names what is damaged, and waits for what is not written yet", async () => {
    const { f, t, ask, page, pageOf } = opened();
    f.sendTimed(t, f.wallMs + 1_000);
    f.log.damaged.add([...f.log.records()].find(({ type }) => type === RecordType.TimedMessage)!.position);
    assert.deepEqual((await page(null)).damaged, [1]);
    f.isAutoSync = false;
    f.sendTimed(t, f.wallMs + 1_000);
    assert.deepEqual((await page(null)).items, [], "the page ends before it");
    const said = ask(null, 1);
    assert.ok(said instanceof Promise);
    f.log.write();
    assert.deepEqual(
      pageOf(await said).items.map(({ timedNumber }) => timedNumber),
      [2],
    );
  });
});
