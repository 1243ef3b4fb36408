import assert from "node:assert/strict";
import * as event from "../../../../broker-core/record/lane-event-record.ts";
import * as filter from "../../../../broker-core/record/lane-filter-record.ts";
import * as rule from "../../../../broker-core/record/lane-rule-record.ts";
import * as pop from "../../../../broker-core/record/pop-record.ts";
import fc from "../../../support/seeded-fast-check.ts";

const u32 = fc.nat(0xffff_ffff);
const u53 = fc.nat(Number.MAX_SAFE_INTEGER);
const text = fc.string({ maxLength: 60, unit: "grapheme" }).filter((t) => Buffer.byteLength(t) <= 255);
const plain = { noNullPrototype: true } as const;

describe("records of lanes come back as they were written", () => {
  it("lane rules", () => {
    const rules = fc.record(
      { topicId: u32, number: u53, wallMs: fc.nat(), group: text, name: text, topicName: text, rule: fc.string() },
      plain,
    );
    fc.assert(
      fc.property(rules, (record) => {
        const bytes = Buffer.alloc(rule.laneRuleRecordBytes(record) + 8);
        rule.writeLaneRuleRecord(record, bytes, 4);
        const read = rule.readLaneRuleRecord(bytes, 4, bytes.length - 4);
        // What is no UTF-8 is no rule.
        assert.deepEqual(read, { ...record, rule: Buffer.from(record.rule).toString() });
      }),
    );
  });

  it("what becomes of lanes", () => {
    fc.assert(
      fc.property(fc.record({ topicId: u32, groupId: u32, wallMs: fc.nat(), lane: text }, plain), (record) => {
        const bytes = Buffer.alloc(event.laneEventBytes(record) + 8);
        event.writeLaneEvent(record, bytes, 4);
        assert.deepEqual(event.readLaneEvent(bytes, 4, bytes.length - 4), record);
      }),
    );
  });

  it("the filters of lanes", () => {
    const filters = fc.record(
      { topicId: u32, groupId: u32, wallMs: fc.nat(), lane: text, filterType: fc.nat(255), expression: text },
      plain,
    );
    fc.assert(
      fc.property(filters, (record) => {
        const bytes = Buffer.alloc(filter.laneFilterBytes(record) + 8, 0xa5);
        filter.writeLaneFilter(record, bytes, 4);
        assert.deepEqual(filter.readLaneFilter(bytes, 4, bytes.length - 4), record);
        assert.deepEqual([bytes[3], bytes[bytes.length - 4]], [0xa5, 0xa5]);
      }),
    );
  });

  it("whose messages a pop hands out, and what it keeps", () => {
    const read = pop.popReadBlank();
    fc.assert(
      fc.property(text, fc.array(u53, { maxLength: 5 }), fc.boolean(), (owner, kept, hasDelivery) => {
        const count = hasDelivery ? 1 : 0;
        const keptCount = owner === "" ? 0 : kept.length;
        const bytes = Buffer.alloc(pop.popRecordBytes("c", "a", "l", 0, count, 0, owner, keptCount));
        let at = pop.writePopHead(bytes, 0, 1, 2, 3, 0, count, 0, 4, "c", "a", "l");
        if (hasDelivery) at = pop.writePopDelivery(bytes, at, 1, 2, 3, 4);
        if (owner !== "") at = pop.writePopOwner(bytes, at, owner, keptCount);
        for (const offset of kept.slice(0, keptCount)) at = pop.writePopKept(bytes, at, 7, offset);
        assert.equal(at, bytes.length);
        pop.readPopRecord(bytes, 0, bytes.length, read);
        assert.equal(read.ownerAt < 0, owner === "");
        assert.equal(read.keptCount, keptCount);
        if (keptCount > 0) assert.equal(pop.popEntryOffset(bytes, read.keptAt), kept[0]);
      }),
    );
  });
});
