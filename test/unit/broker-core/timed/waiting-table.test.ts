import assert from "node:assert/strict";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";
import { dumpWaiting, readWaiting, writeWaiting } from "../../../../broker-core/timed/waiting-image.ts";
import { none, stretchBytes, WaitingTable } from "../../../../broker-core/timed/waiting-table.ts";
import fc from "../../../support/seeded-fast-check.ts";
import { withSeed } from "../../../support/test-seed.ts";

interface Row {
  readonly number: number;
  readonly dueMs: number;
  position: number;
  readonly topicId: number;
}

/** The table beside a list that is sorted anew each time. */
class Pair {
  table = new WaitingTable();
  readonly rows: Row[] = [];
  #nextPosition = 56;
  #nextNumber = 1;

  constructor(firstNumber: number) {
    this.#nextNumber = firstNumber;
    this.table.nextNumber = firstNumber;
  }

  add(dueMs: number, topicId: number, gap: number): void {
    const row = { number: this.#nextNumber++, dueMs, position: this.#nextPosition, topicId };
    this.#nextPosition += gap;
    this.rows.push(row);
    this.table.add(row.number, row.dueMs, row.position, row.topicId);
  }

  inOrder(): Row[] {
    return [...this.rows].sort((a, b) => a.dueMs - b.dueMs || a.number - b.number);
  }

  takeFirst(): void {
    const [first] = this.inOrder();
    const row = this.table.first();
    if (first === undefined) {
      assert.equal(row, none);
      return;
    }
    this.#assertRow(row, first);
    this.#remove(row, first);
  }

  remove(index: number): void {
    const chosen = this.rows[index % Math.max(this.rows.length, 1)];
    if (chosen === undefined) return;
    this.#remove(this.table.find(chosen.number), chosen);
    assert.equal(this.table.find(chosen.number), none, "what was removed is not found");
  }

  move(index: number, gap: number): void {
    const chosen = this.rows[index % Math.max(this.rows.length, 1)];
    if (chosen === undefined) return;
    chosen.position = this.#nextPosition;
    this.#nextPosition += gap;
    this.table.move(this.table.find(chosen.number), chosen.position);
  }

  dropTopic(topicId: number): void {
    for (const row of this.table.rows()) if (this.table.topicId(row) === topicId) this.table.remove(row);
    for (let i = this.rows.length - 1; i >= 0; i--) if (this.rows[i]!.topicId === topicId) this.rows.splice(i, 1);
  }

  /** Through an image, as a restart does it. */
  restore(): void {
    const image = bytesOf(this.table, writeWaiting);
    const next = new WaitingTable();
    readWaiting(new ImageReader(image), next);
    assert.deepEqual(bytesOf(next, dumpWaiting), bytesOf(this.table, dumpWaiting), "an image holds everything");
    this.table = next;
  }

  check(): void {
    const { table } = this;
    assert.equal(table.count, this.rows.length);
    for (const topicId of [1, 2, 3]) {
      assert.equal(table.countOf(topicId), this.rows.filter((row) => row.topicId === topicId).length);
    }
    for (const row of this.rows) this.#assertRow(table.find(row.number), row);
    assert.deepEqual(
      [...table.rows()].map((row) => table.number(row)).sort((a, b) => a - b),
      this.rows.map(({ number }) => number),
    );
    assert.equal(table.nextNumber, this.#nextNumber);
    this.#checkStretches();
  }

  drain(): void {
    for (const expected of this.inOrder()) {
      const row = this.table.first();
      assert.equal(this.table.number(row), expected.number, "in the order of due time, then of sending");
      this.table.remove(row);
    }
    assert.equal(this.table.first(), none);
    assert.equal(this.table.stretchFrom(0), Number.POSITIVE_INFINITY);
  }

  /** Walks the log stretch by stretch; each message turns up once, in the order of the log. */
  #checkStretches(): void {
    const seen: number[] = [];
    for (let from = 0; ; from = (Math.floor(from / stretchBytes) + 1) * stretchBytes) {
      from = Math.max(from, this.table.stretchFrom(from));
      if (from === Number.POSITIVE_INFINITY) break;
      const found = this.table.rowsIn(from, from + stretchBytes);
      assert.ok(found.length > 0, "a stretch without messages is left out");
      for (let i = 0; i < found.length; i++) {
        assert.equal(found.position(i), this.table.position(found.row(i)));
        seen.push(found.position(i));
      }
    }
    assert.deepEqual(
      seen,
      this.rows.map(({ position }) => position).sort((a, b) => a - b),
    );
  }

  #remove(row: number, expected: Row): void {
    this.table.remove(row);
    this.rows.splice(this.rows.indexOf(expected), 1);
  }

  #assertRow(row: number, expected: Row): void {
    const { table } = this;
    assert.notEqual(row, none, `message ${expected.number} is not found`);
    assert.deepEqual(
      {
        number: table.number(row),
        dueMs: table.dueMs(row),
        position: table.position(row),
        topicId: table.topicId(row),
      },
      expected,
    );
  }
}

function bytesOf(table: WaitingTable, write: typeof writeWaiting): Buffer {
  const into = new ImageWriter();
  write(table, into);
  return into.bytes();
}

type Step = (pair: Pair) => void;

const dueMs = fc.oneof(fc.nat(5), fc.nat(3_456_000_000), fc.constantFrom(0, 2 ** 47));
const gap = fc.oneof(fc.integer({ min: 30, max: 400 }), fc.integer({ min: 1, max: stretchBytes * 3 }));
const add: fc.Arbitrary<Step> = fc.tuple(dueMs, fc.integer({ min: 1, max: 3 }), gap).map(
  ([due, topicId, bytes]) =>
    (pair) =>
      pair.add(due, topicId, bytes),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: add, weight: 60 },
  { arbitrary: fc.constant<Step>((pair) => pair.takeFirst()), weight: 20 },
  {
    arbitrary: fc.nat(1000).map(
      (index): Step =>
        (pair) =>
          pair.remove(index),
    ),
    weight: 2,
  },
  {
    arbitrary: fc.tuple(fc.nat(1000), gap).map(
      ([index, g]): Step =>
        (pair) =>
          pair.move(index, g),
    ),
    weight: 1,
  },
  {
    arbitrary: fc.integer({ min: 1, max: 3 }).map(
      (topicId): Step =>
        (pair) =>
          pair.dropTopic(topicId),
    ),
    weight: 2,
  },
  { arbitrary: fc.constant<Step>((pair) => pair.restore()), weight: 3 },
);

describe("the table of waiting messages", () => {
  it("behaves as a sorted list does, for any history", () => {
    const firstNumber = fc.constantFrom(1, 2 ** 32 - 20, 2 ** 40);
    withSeed(() => {
      const history = fc.property(firstNumber, fc.array(step, { maxLength: 120, size: "max" }), (first, steps) => {
        const pair = new Pair(first);
        for (const act of steps) act(pair);
        pair.check();
        pair.drain();
      });
      fc.assert(history, { numRuns: 300 });
    });
  });

  it("comes back whole from an image of many blocks, with rows that are free in between", () => {
    const table = new WaitingTable();
    for (let number = 1; number <= 30_000; number++) table.add(number, 7 * number, 100 * number, 1 + (number % 5));
    for (let number = 2; number <= 30_000; number += 7) table.remove(table.find(number));
    table.releasedThroughMs = 99;
    const restored = new WaitingTable();
    readWaiting(new ImageReader(bytesOf(table, writeWaiting)), restored);
    assert.deepEqual(bytesOf(restored, dumpWaiting), bytesOf(table, dumpWaiting));
  });

  it("keeps its order over many slabs and parts of the index", () => {
    const table = new WaitingTable();
    const count = 200_000;
    let state = 1;
    for (let number = 1; number <= count; number++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      table.add(number, state % 50_000, 100 * number, 1);
    }
    for (let number = 3; number <= count; number += 3) table.remove(table.find(number));
    let before = [-1, 0];
    for (let row = table.first(); row !== none; row = table.first()) {
      const now = [table.dueMs(row), table.number(row)];
      assert.ok(before[0]! < now[0]! || (before[0] === now[0] && before[1]! < now[1]!), `${before} before ${now}`);
      assert.notEqual(now[1]! % 3, 0);
      before = now;
      table.remove(row);
    }
  });
});
