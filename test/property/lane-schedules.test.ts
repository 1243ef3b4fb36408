import assert from "node:assert/strict";
import { LaneJudge, type SentMessage } from "../simulator/lanes/lane-judge.ts";
import { laneRunsTable, messagesOf, runHere } from "../simulator/lanes/lane-runs.ts";
import { drawLaneSchedule } from "../simulator/lanes/lane-schedule.ts";
import { runLaneSchedule } from "../simulator/lanes/lane-simulation.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";

/** A small share of what test/extended/lane-schedules.test.ts does at length. */
describe("Lanes under schedules of rules, kills and clocks", () => {
  it(`keep what they promise of every message (seed ${testSeed})`, () => {
    const report = runHere(testSeed, 6, 1_500);
    console.log(laneRunsTable(report));
    assert.equal(report.violations, 0, report.failures.join("\n") + againWithSeed());
    const { counts } = report;
    assert.ok(messagesOf(report) >= 6_000 && counts.handlings >= 9_000, laneRunsTable(report));
    assert.ok(counts.reassignments >= 50 && counts.standIns >= 200 && counts.inTurn >= 1_500, laneRunsTable(report));
    assert.ok(counts.explained >= 100 && counts.dead >= 6 && counts.laneChanges >= 5, laneRunsTable(report));
  }).timeout(240_000);

  it("are the same twice with the same seed", () => {
    const once = () => runLaneSchedule(drawLaneSchedule(testSeed, { messages: 400, loadMs: 3_000 }));
    assert.deepEqual(once(), once());
  });
});

describe("The judge of lane schedules", () => {
  const message: SentMessage = { topic: 0, kind: "normal", mark: "base", tag: "red", orderKey: -1, shareText: "u1" };
  const toCanary = {
    clauses: [{ to: "canary", lane: "canary" }],
    whenEmpty: { action: "spill" as const, afterMs: 100 },
  };

  /** A judge that has seen one group come, a rule, and messages that are in queue 0, all acked to their producers. */
  function judgeOf(...messages: Partial<SentMessage>[]): LaneJudge {
    const judge = new LaneJudge(["ns/g"], [""], 1);
    judge.topicOpened(0, 1);
    judge.groupCame(0, 0);
    judge.ruled(0, -1, 7, toCanary);
    for (const [offset, parts] of messages.entries()) {
      judge.sendAcked(judge.sends({ ...message, ...parts }));
      judge.stored(offset, 0, 0, offset);
    }
    return judge;
  }

  /** Handed out in a lane by the record at `position`, which says so. */
  function handOut(
    judge: LaneJudge,
    offset: number,
    lane: string,
    position: number,
    owner = lane,
    nowMs = position,
  ): void {
    judge.handled(offset, 0, lane, position, nowMs, nowMs + 1_000);
    judge.popped(0, 0, lane, owner, [[0, offset]], position);
  }

  function ack(judge: LaneJudge, offset: number, position: number): void {
    judge.ackAsked(offset, 0, position);
    judge.ackLogged(0, 0, 0, offset);
    judge.acked(offset, 0, position);
  }

  const found = (judge: LaneJudge): string[] => {
    judge.finish();
    return judge.violations.map((text) => text.slice(0, text.indexOf(":")));
  };

  it("finds nothing in a history that is right", () => {
    const judge = judgeOf({}, { mark: "canary" });
    handOut(judge, 0, "base", 10);
    handOut(judge, 1, "canary", 20);
    ack(judge, 0, 10);
    ack(judge, 1, 20);
    judge.explains(0, 0, 1, 0, { ruleNumber: 7, lane: "canary" });
    assert.deepEqual(found(judge), []);
  });

  const broken: readonly (readonly [string, string, (judge: LaneJudge) => void, Partial<SentMessage>[]])[] = [
    ["a message that nobody handled", "lost", () => {}, [{}]],
    ["a message that was handled and never acked", "left", (judge) => handOut(judge, 0, "base", 10), [{}]],
    [
      "a message handled again after its ack",
      "duplicate",
      (judge) => {
        handOut(judge, 0, "base", 10);
        ack(judge, 0, 10);
        handOut(judge, 0, "base", 30);
        ack(judge, 0, 30);
      },
      [{}],
    ],
    [
      "a message handled twice at once",
      "duplicate",
      (judge) => {
        handOut(judge, 0, "base", 10);
        handOut(judge, 0, "base", 20);
        ack(judge, 0, 20);
      },
      [{}],
    ],
    [
      "a canary's message handled by base while the canary is live",
      "lane",
      (judge) => {
        handOut(judge, 0, "base", 10, "canary");
        ack(judge, 0, 10);
      },
      [{ mark: "canary" }],
    ],
    [
      "a message of base handed out as the canary's",
      "lane",
      (judge) => {
        handOut(judge, 0, "canary", 10);
        ack(judge, 0, 10);
      },
      [{}],
    ],
    [
      "a message that changes its lane with no record between",
      "lane",
      (judge) => {
        judge.laneChanged("spilled", 0, 0, "canary", 5);
        handOut(judge, 0, "base", 10, "canary");
        judge.nacked(0, 0, 10);
        handOut(judge, 0, "canary", 20);
        ack(judge, 0, 20);
      },
      [{ mark: "canary" }],
    ],
    [
      "a message group out of order",
      "order",
      (judge) => {
        handOut(judge, 1, "base", 10);
        ack(judge, 1, 10);
        handOut(judge, 0, "base", 20);
        ack(judge, 0, 20);
      },
      [{ orderKey: 3 }, { orderKey: 3 }],
    ],
    [
      "a second message of a group while the first is in hand",
      "order",
      (judge) => {
        handOut(judge, 0, "base", 10);
        handOut(judge, 1, "base", 20);
        ack(judge, 0, 10);
        ack(judge, 1, 20);
      },
      [{ orderKey: 3 }, { orderKey: 3 }],
    ],
    [
      "an explanation that names another rule",
      "explain",
      (judge) => {
        handOut(judge, 0, "base", 10);
        ack(judge, 0, 10);
        judge.explains(0, 0, 0, 0, { ruleNumber: 6, lane: "base" });
      },
      [{}],
    ],
    [
      "a handling of which the log knows nothing",
      "log",
      (judge) => {
        judge.handled(0, 0, "base", 10, 10, 1_000);
        ack(judge, 0, 10);
      },
      [{}],
    ],
    [
      "a message that was rolled back and is handled",
      "rolled back",
      (judge) => {
        judge.rolledBack(0);
        handOut(judge, 0, "base", 10);
        ack(judge, 0, 10);
      },
      [{}],
    ],
    [
      "a dead message without a reason",
      "dead letter",
      (judge) => {
        handOut(judge, 0, "base", 10);
        judge.deathLogged(0, 0, 0, 0);
        judge.deadLetterRead(0, 0, "");
      },
      [{}],
    ],
    [
      "a dead message that is in no dead-letter queue",
      "dead letter",
      (judge) => {
        handOut(judge, 0, "base", 10);
        judge.deathLogged(0, 0, 0, 0);
      },
      [{}],
    ],
  ];
  for (const [what, kind, history, messages] of broken) {
    it(`finds ${what}`, () => {
      const judge = judgeOf(...messages);
      history(judge);
      assert.deepEqual([...new Set(found(judge))], [kind]);
    });
  }

  it("counts a message that was in flight at a kill and is handled again as a duplicate, and accepts it", () => {
    const judge = judgeOf({});
    handOut(judge, 0, "base", 10);
    judge.cut(0, 0, 10);
    handOut(judge, 0, "base", 20);
    ack(judge, 0, 20);
    assert.deepEqual(found(judge), []);
    assert.deepEqual([judge.counts.duplicates, judge.counts.inFlightAtKills], [1, 1]);
  });
});
