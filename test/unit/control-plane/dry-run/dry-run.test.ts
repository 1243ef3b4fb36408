import assert from "node:assert/strict";
import { type BrokerDryRun, dryRunReport, dryRunText } from "../../../../control-plane/dry-run/dry-run.ts";

const said = (broker: string, more: Partial<BrokerDryRun> = {}): BrokerDryRun & { broker: string } => ({
  ...{ broker, total: 100, examined: 100, damaged: 0, isCut: false, isLate: false },
  clauses: [
    { clause: 1, to: "canary", messages: 10 },
    { clause: 2, to: "blue", messages: 0 },
  ],
  lanes: [
    {
      lane: "base",
      messages: 90,
      keys: 2,
      topKeys: [
        { key: "a", messages: 50 },
        { key: "b", messages: 40 },
      ],
    },
    { lane: "canary", messages: 10, keys: 1, topKeys: [{ key: "c", messages: 10 }] },
    { lane: "blue", messages: 0, keys: 0, topKeys: [] },
  ],
  groups: [
    {
      ...{ group: "default/billing", isDecidedByIt: true, holders: { base: 1, canary: 1 } },
      moves: [
        { from: "base", to: "base", messages: 90 },
        { from: "base", to: "canary", messages: 10 },
      ],
    },
    { group: "default/own", isDecidedByIt: false, moves: [{ from: "green", to: "green", messages: 100 }], holders: {} },
  ],
  ...more,
});

describe("the report of a dry run", () => {
  it("adds up the brokers, and leaves out groups that other rules decide for", () => {
    const report = dryRunReport({ brokers: [said("a"), said("b")], unanswered: [] }, ["canary"]);
    assert.deepEqual([report.total, report.examined], [200, 200]);
    assert.deepEqual(
      report.lanes.map(({ lane, messages, share }) => [lane, messages, share]),
      [
        ["base", 180, 0.9],
        ["canary", 20, 0.1],
        ["blue", 0, 0],
      ],
    );
    assert.deepEqual(report.lanes[0]?.topKeys, [
      { key: "a", messages: 100 },
      { key: "b", messages: 80 },
    ]);
    assert.deepEqual(report.groups, [
      { group: "default/billing", before: { base: 200 }, after: { base: 180, canary: 20 }, moved: 20 },
    ]);
    const text = dryRunText(report);
    assert.ok(text.includes("Held against all 200 messages of that time:"), text.join("\n"));
    assert.ok(text.includes("  10.0 % would go to lane canary: 20 messages; most of c (20)"), text.join("\n"));
    assert.ok(
      text.includes(
        "  group default/billing: 200 base now, 180 base, 20 canary then; 20 messages would be of another lane",
      ),
      text.join("\n"),
    );
  });

  it("warns of clauses that decide nothing, lanes without consumers, and of what was cut or is missing", () => {
    const { warnings } = dryRunReport(
      {
        brokers: [said("a", { isCut: true, examined: 50 }), said("b", { isLate: true, examined: 10, damaged: 2 })],
        unanswered: [{ broker: "c", error: "away" }],
      },
      ["canary", "blue"],
    );
    assert.deepEqual(warnings, [
      "broker a looked at 50 of 100 messages, evenly spread",
      "broker b stopped after 10 of 100 messages because its time was over; name a shorter one",
      "2 messages of broker b are damaged and were left out",
      "broker c is missing from these figures: away",
      "clause 2 (to blue) decided about none of the 60 messages looked at",
      "nobody consumes in lane blue of default/billing now (1 of its sidecars are connected): base would handle its messages, or they would wait if the rule says hold",
    ]);
  });

  it("says so when there is nothing to hold a rule against", () => {
    const none = dryRunReport(
      { brokers: [said("a", { total: 0, examined: 0, lanes: [], clauses: [], groups: [] })], unanswered: [] },
      [],
    );
    assert.deepEqual(dryRunText(none), ["No message of that time is there to hold it against."]);
  });
});
