import assert from "node:assert/strict";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { type CheckName, checkHistory, type HistoryEvent } from "../../support/history-checker.ts";
import { generatedSubscriptions, generateValidHistory } from "../../support/history-generator.ts";
import { testSeed } from "../../support/test-seed.ts";

const subscriptions = [
  {
    ...{ group: "g", topic: "t", attemptsMax: 3, isDeadLettersRead: true },
    passes: ({ tag }: HistoryEvent) => tag !== "unwanted",
  },
];

type Parts = Partial<HistoryEvent>;

/** A send of m at `t`, answered 5 ms later; its offset is the number in its id. */
const send = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...{ op: "send", t0: t, t1: t + 5, result: "ok", client: "p", topic: "t", queue: 0, offset: Number(id.slice(1)), id },
  ...{ digest: `d${id}`, ...parts },
});
/** A hand-out called at `t`, answered 5 ms later, for 1 000 ms. */
const got = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...{ op: "receive", t0: t, t1: t + 5, result: "ok", client: "c", group: "g", topic: "t", queue: 0, id },
  ...{
    offset: Number(id.slice(1)),
    digest: `d${id}`,
    attempt: 1,
    receipt: `r${id}@${t}`,
    invisibleMs: 1_000,
    ...parts,
  },
});
const ack = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...{ op: "ack", t0: t, t1: t + 5, result: "ok", group: "g", topic: "t", id, ...parts },
});
const change = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({ ...ack(id, t), op: "change", ...parts });
const handBack = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...ack(id, t),
  op: "hand-back",
  ...parts,
});
const dead = (id: string, t: number): HistoryEvent => ({ ...ack(id, t), op: "dead-letter" });
const lostReceive = (t: number): HistoryEvent => ({
  op: "receive",
  t0: t,
  t1: t + 5,
  result: "info",
  group: "g",
  topic: "t",
});
const at = (op: "healed" | "drained" | "power-cut" | "unreadable" | "removed", t: number): HistoryEvent => ({
  op,
  t0: t,
  t1: t,
  result: "ok",
});
/** Sent, handed out, acked. */
const done = (id: string, t: number, parts: Parts = {}): HistoryEvent[] => [
  send(id, t, parts),
  got(id, t + 10, parts),
  ack(id, t + 20),
];

/** A receive called at `t` that brought nothing within 200 ms. */
const empty = (t: number, parts: Parts = {}): HistoryEvent => ({
  ...lostReceive(t),
  t1: t + 200,
  result: "ok",
  ...parts,
});
const forward = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...ack(id, t),
  op: "forward",
  ...parts,
});
const end = (op: "commit" | "rollback", id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...{ op, t0: t, t1: t + 5, result: "ok", client: "p", topic: "t", id, ...parts },
});
const recall = (id: string, t: number, parts: Parts = {}): HistoryEvent => ({
  ...end("commit", id, t),
  op: "recall",
  ...parts,
});
const drained = at("drained", 99_000);
const timed = { targetMs: 5_000 };
const half = { isHalf: true };

const k = { key: "k" };

function deadAt(id: string, offset: number): HistoryEvent[] {
  return [{ ...dead(id, 3_000), queue: 0, offset }];
}

function attemptAt(attempt: number): HistoryEvent[] {
  const t = attempt * 2_000;
  return [...(attempt === 1 ? [send("m0", 0)] : []), got("m0", t, { attempt })];
}

function fault(t0: number, t1: number): HistoryEvent {
  return { op: "fault", t0, t1, result: "ok" };
}

/** Renewed at 500 for 2 000 ms, unless told otherwise; then handed out to somebody else at `t`. */
function renewed({ t, invisibleMs = 2_000 }: { readonly t: number; readonly invisibleMs?: number }): HistoryEvent[] {
  return [
    send("m0", 0),
    got("m0", 10, { receipt: "r" }),
    change("m0", 500, { receipt: "r", newReceipt: "s", invisibleMs }),
    got("m0", t, { attempt: 2, client: "c2" }),
  ];
}

/** Each breaks one promise, in one way. */
const bad: readonly (readonly [CheckName, string, readonly HistoryEvent[]])[] = [
  ["C1", "the only message never came", [send("m0", 0)]],
  ["C1", "the first of three never came (prefix)", [send("m0", 0), ...done("m1", 10), ...done("m2", 40)]],
  ["C1", "the second of three never came (middle)", [...done("m0", 0), send("m1", 10), ...done("m2", 40)]],
  ["C1", "the last of three never came (suffix)", [...done("m0", 0), ...done("m1", 30), send("m2", 60)]],
  ["C1", "only another group got it", [send("m0", 0), got("m0", 10, { group: "other" })]],
  ["C1", "a receive of unknown outcome is no delivery", [send("m0", 0), lostReceive(10)]],
  ["C1", "a send that was repeated and answered", [send("m0", 0, { result: "info" }), send("m0", 10)]],
  ["C2", "nobody sent it", [...done("m0", 0), got("m7", 50)]],
  ["C2", "its send failed", [send("m0", 0, { result: "fail" }), got("m0", 10), ack("m0", 20)]],
  [
    "C2",
    "both its sends failed",
    [send("m0", 0, { result: "fail" }), send("m0", 10, { result: "fail" }), got("m0", 30)],
  ],
  ["C2", "another group got what nobody sent", [...done("m0", 0), got("m7", 50, { group: "other" })]],
  ["C3", "another body", [send("m0", 0), got("m0", 10, { digest: "x" }), ack("m0", 20)]],
  ["C3", "another tag", [send("m0", 0, { tag: "a" }), got("m0", 10, { tag: "b" })]],
  ["C3", "the tag is gone", [send("m0", 0, { tag: "a" }), got("m0", 10)]],
  ["C3", "another message group", [send("m0", 0, k), got("m0", 10, { key: "j" })]],
  [
    "C3",
    "right the first time, wrong the second",
    [send("m0", 0), got("m0", 10), got("m0", 2_000, { digest: "x", attempt: 2 })],
  ],
  ["C4", "again after the ack", [...done("m0", 0), got("m0", 3_000, { attempt: 2 })]],
  [
    "C4",
    "long after the ack, across a power cut",
    [...done("m0", 0), at("power-cut", 40), got("m0", 90_000, { attempt: 2 })],
  ],
  [
    "C4",
    "after the second, successful ack",
    [send("m0", 0), got("m0", 10), ack("m0", 20, { result: "info" }), ack("m0", 30), got("m0", 3_000, { attempt: 2 })],
  ],
  ["C4", "to another consumer of the group", [...done("m0", 0), got("m0", 3_000, { attempt: 2, client: "c2" })]],
  ["C5", "two consumers at once", [send("m0", 0), got("m0", 10), got("m0", 100, { client: "c2", attempt: 2 })]],
  [
    "C5",
    "just before the end of the lease",
    [send("m0", 0), got("m0", 10), got("m0", 980, { client: "c2", attempt: 2 })],
  ],
  ["C5", "the same consumer by two receives", [send("m0", 0), got("m0", 10), got("m0", 400, { attempt: 2 })]],
  [
    "C5",
    "given up only afterwards",
    [
      send("m0", 0),
      got("m0", 10, { receipt: "r" }),
      got("m0", 400, { attempt: 2 }),
      change("m0", 500, { receipt: "r" }),
    ],
  ],
  [
    "C5",
    "another receipt was given up",
    [
      send("m0", 0),
      got("m0", 10, { receipt: "r" }),
      change("m0", 20, { receipt: "s" }),
      got("m0", 400, { attempt: 2 }),
    ],
  ],
  [
    "C5",
    "within the second of two leases",
    [send("m0", 0), got("m0", 10), got("m0", 1_020, { attempt: 2 }), got("m0", 1_500, { attempt: 3 })],
  ],
  ["C6", "the same attempt twice", [send("m0", 0), got("m0", 10), got("m0", 2_000)]],
  [
    "C6",
    "a lower attempt later",
    [send("m0", 0), got("m0", 10), got("m0", 2_000, { attempt: 2 }), got("m0", 4_000, { attempt: 1 })],
  ],
  ["C6", "the first hand-out is the second attempt", [send("m0", 0), got("m0", 10, { attempt: 2 })]],
  ["C6", "an attempt left out", [send("m0", 0), got("m0", 10), got("m0", 2_000, { attempt: 3 })]],
  [
    "C6",
    "an attempt left out before a receive got lost",
    [send("m0", 0), got("m0", 10), got("m0", 2_000, { attempt: 3 }), lostReceive(2_500)],
  ],
  [
    "C7",
    "the next of the key while the first is out",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), got("m1", 30, k), ack("m0", 40), ack("m1", 50)],
  ],
  [
    "C7",
    "the next of the key while the first is never settled",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), got("m1", 30, k)],
  ],
  [
    "C7",
    "the ack of the first failed",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), ack("m0", 25, { result: "fail" }), got("m1", 40, k)],
  ],
  [
    "C7",
    "the first is dead only later",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), got("m1", 40, k), dead("m0", 3_000)],
  ],
  [
    "C7",
    "the first, found dead at an unknown time, was given out after the second",
    [
      ...[send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), got("m1", 40, k), ack("m1", 45)],
      ...[got("m0", 2_000, { ...k, attempt: 2 }), { ...dead("m0", 5_000), t0: 0 }],
    ],
  ],
  [
    "C7",
    "a power cut undoes the ack that the second was given out for",
    [
      ...[send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), ack("m0", 30, { result: "info" }), got("m1", 40, k)],
      ...[at("power-cut", 50), got("m0", 100, k), ack("m0", 110), ack("m1", 120)],
    ],
  ],
  [
    "C7",
    "the third before the second",
    [...done("m0", 0, k), send("m1", 50, k), send("m2", 60, k), got("m2", 100, k), got("m1", 120, k), ack("m1", 130)],
  ],
  ["C8", "a later send before an earlier one", [send("m5", 0), send("m3", 10), got("m5", 50), got("m3", 60)]],
  ["C8", "two rounds later", [...done("m0", 0), ...done("m5", 100), ...done("m6", 200), ...done("m4", 300)]],
  [
    "C8",
    "by two producers",
    [send("m5", 0, { client: "a" }), send("m3", 10, { client: "b" }), got("m5", 50), got("m3", 60)],
  ],
  [
    "C9",
    "two sends, one offset",
    [send("m0", 0), send("m1", 3, { offset: 0 }), got("m0", 10), got("m1", 20, { offset: 1 })],
  ],
  [
    "C9",
    "delivered at the offset of another",
    [...done("m0", 0), send("m1", 100, { result: "info" }), got("m1", 200, { offset: 0 })],
  ],
  [
    "C9",
    "reused after a crash",
    [...done("m0", 0), at("power-cut", 50), send("m1", 100, { result: "info" }), got("m1", 200, { offset: 0 })],
  ],
  [
    "C9",
    "two groups see different messages at one place",
    [send("m0", 0), got("m0", 10), send("m1", 20, { result: "info" }), got("m1", 50, { offset: 0, group: "other" })],
  ],
  ["C10", "a delayed message before its time", [send("m0", 0, { targetMs: 5_000 }), got("m0", 4_000)]],
  [
    "C10",
    "early only on its redelivery is early too",
    [send("m0", 0, { targetMs: 5_000 }), got("m0", 1_000), got("m0", 3_000, { attempt: 2 })],
  ],
  ["C11", "never drained", [...done("m0", 0), at("healed", 100), ...done("m1", 200)]],
  ["C11", "drained too late", [at("healed", 0), ...done("m0", 100), at("drained", 30_001)]],
  ["C11", "no send after the faults", [...done("m0", 0), at("healed", 100), at("drained", 200)]],
  [
    "C11",
    "the first send after the faults took too long",
    [at("healed", 0), send("m0", 10, { t1: 5_001 }), got("m0", 5_010), ack("m0", 5_020), at("drained", 6_000)],
  ],
  ["C5", "renewed, and handed out within the new time", renewed({ t: 1_500 })],
  ["B3", "an offset that nobody ever saw", [...done("m0", 0), ...done("m2", 40), drained]],
  ["B3", "the first offset is nobody's", [...done("m1", 0), ...done("m2", 40), drained]],
  ["B4", "acked, and among the dead letters", [...done("m0", 0), dead("m0", 3_000)]],
  ["B6", "twice among the dead letters", [send("m0", 0), got("m0", 10), ...deadAt("m0", 0), ...deadAt("m0", 1)]],
  ["B6", "a fourth attempt of three", [1, 2, 3, 4].flatMap((attempt) => attemptAt(attempt))],
  ["B6", "gone without an ack", [send("m0", 0), got("m0", 10), drained]],
  ["B6", "forwarded, and not among the dead letters", [send("m0", 0), got("m0", 10), forward("m0", 20), drained]],
  ["B6", "stored, and a receive a second later brings nothing", [send("m0", 0), empty(1_200), got("m0", 2_000)]],
  [
    "B6",
    "its lease ended, and a long wait that began before brings nothing",
    [send("m0", 0), got("m0", 10), empty(100, { t1: 2_200 }), got("m0", 2_300, { attempt: 2 })],
  ],
  [
    "B6",
    "given back, and not to be had",
    [
      send("m0", 0),
      got("m0", 10, { receipt: "r" }),
      handBack("m0", 20, { receipt: "r" }),
      empty(2_300),
      got("m0", 3_000),
    ],
  ],
  ["B6", "due, and not to be had", [send("m0", 0, { targetMs: 5_000 }), empty(6_200), got("m0", 7_000)]],
  [
    "B6",
    "due for good since long, and not to be had",
    [send("m0", 0, { targetMs: 1_000, visibleMs: 5_000 }), empty(6_200), got("m0", 7_000)],
  ],
  ["B8", "taken back, and delivered all the same", [send("m0", 0, timed), recall("m0", 100), got("m0", 5_010)]],
  ["B8", "taken back, and among the dead letters", [send("m0", 0, timed), recall("m0", 100), dead("m0", 6_000)]],
  [
    "B8",
    "taken back only at the second try, and delivered",
    [send("m0", 0, timed), recall("m0", 100, { result: "info" }), recall("m0", 200), got("m0", 5_010)],
  ],
  [
    "B8",
    "waits, and is refused to be taken back",
    [send("m0", 0, timed), recall("m0", 100, { result: "fail", code: 40300 }), got("m0", 5_010), ack("m0", 5_020)],
  ],
  [
    "C1",
    "was refused to be taken back, and never came",
    [send("m0", 0, timed), recall("m0", 5_100, { result: "fail", code: 40300 })],
  ],
  [
    "B9",
    "a half message before its commit",
    [send("m0", 0, half), got("m0", 20), end("commit", "m0", 50), ack("m0", 60)],
  ],
  ["B9", "a half message that nobody committed", [send("m0", 0, half), got("m0", 20), ack("m0", 60)]],
  ["B9", "its commit failed", [send("m0", 0, half), end("commit", "m0", 10, { result: "fail" }), got("m0", 20)]],
  [
    "B9",
    "after its rollback",
    [send("m0", 0, half), end("rollback", "m0", 10), end("commit", "m0", 30, { result: "info" }), got("m0", 50)],
  ],
  ["C1", "committed, and never seen", [send("m0", 0, half), end("commit", "m0", 10)]],
  ["C1", "sent after the oldest part of the log went", [at("removed", 100), send("m0", 200)]],
  [
    "B6",
    "sent and forwarded after the oldest part of the log went",
    [at("removed", 100), send("m0", 200), got("m0", 210), forward("m0", 220), drained],
  ],
  ["B6", "gone, sent after the oldest part went", [at("removed", 100), send("m0", 200), got("m0", 210), drained]],
  [
    "B6",
    "not to be had, sent after the oldest part went",
    [at("removed", 100), send("m0", 200), empty(1_400), got("m0", 3_000)],
  ],
  [
    "B3",
    "nobody's, sent after the oldest part went",
    [at("removed", 100), ...done("m0", 200), ...done("m2", 240), drained],
  ],
  [
    "C7",
    "before one of its key, both sent after the oldest part went",
    [at("removed", 100), send("m0", 200, k), send("m1", 210, k), got("m0", 220, k), got("m1", 230, k)],
  ],
  ["C2", "nobody sent it, and the oldest part of the log went", [...done("m0", 0), got("m7", 50), at("removed", 100)]],
  [
    "C4",
    "acked, and the oldest part of the log went",
    [...done("m0", 0), at("removed", 100), got("m0", 2_000, { attempt: 2 })],
  ],
  ["B13", "refused as if it were broken", [send("m0", 0, { result: "fail", code: 40_000 }), ...done("m1", 20)]],
  ["filter", "not what the group wants", [send("m0", 0, { tag: "unwanted" }), got("m0", 10, { tag: "unwanted" })]],
];

/** Each looks like one of the above, and is right. */
const good: readonly (readonly [string, readonly HistoryEvent[]])[] = [
  [
    "a send of unknown outcome may come out or not",
    [send("m0", 0, { result: "info" }), ...done("m1", 10), send("m2", 40, { result: "info" }), got("m2", 60)],
  ],
  ["a failed send whose repetition succeeded", [send("m0", 0, { result: "fail" }), send("m0", 10), got("m0", 30)]],
  ["dead without ever being seen", [send("m0", 0), dead("m0", 5_000)]],
  [
    "a receive that was called before the ack was answered",
    [send("m0", 0), got("m0", 10), ack("m0", 100, { t1: 2_000 }), got("m0", 1_500, { attempt: 2 })],
  ],
  [
    "an ack of unknown outcome",
    [send("m0", 0), got("m0", 10), ack("m0", 20, { result: "info" }), got("m0", 2_000, { attempt: 2 })],
  ],
  ["the lease had ended", [send("m0", 0), got("m0", 10), got("m0", 1_011, { attempt: 2 })]],
  [
    "it was given up",
    [send("m0", 0), got("m0", 10, { receipt: "r" }), change("m0", 50, { receipt: "r" }), got("m0", 60, { attempt: 2 })],
  ],
  [
    "a hand-back does not count",
    [send("m0", 0), got("m0", 10, { receipt: "r" }), handBack("m0", 50, { receipt: "r" }), got("m0", 60)],
  ],
  [
    "a repeated attempt gets the same receipt",
    [send("m0", 0), got("m0", 10, { receipt: "r" }), got("m0", 60, { receipt: "r" })],
  ],
  [
    "the first attempt reached a consumer that stood still after the second reached another",
    [send("m0", 0), got("m0", 10, { t1: 3_000 }), got("m0", 2_000, { attempt: 2, client: "c2" })],
  ],
  ["the time was made shorter by its holder", renewed({ t: 700, invisibleMs: 100 })],
  ["renewed, and handed out after the new time", renewed({ t: 2_600 })],
  [
    "the broker could not read what it handed out",
    [send("m0", 0), at("unreadable", 5), got("m0", 2_000, { attempt: 2 })],
  ],
  ["committed before it came", [send("m0", 0, half), end("commit", "m0", 10), got("m0", 12), ack("m0", 30)]],
  ["rolled back, and never seen", [send("m0", 0, half), end("rollback", "m0", 10)]],
  ["not wanted, and never delivered", [send("m0", 0, { tag: "unwanted" }), ...done("m1", 30)]],
  ["refused while the disk was full", [send("m0", 0, { result: "fail", code: 42_900 }), ...done("m1", 20)]],
  [
    "forwarded by one whose lease had ended, and acked by another",
    [send("m0", 0), got("m0", 10), got("m0", 2_000, { attempt: 2 }), ack("m0", 2_010), forward("m0", 2_050), drained],
  ],
  ["forwarded, and found", [send("m0", 0), got("m0", 10), forward("m0", 20), dead("m0", 50), drained]],
  [
    "went with the oldest part of the log, never seen",
    [send("m0", 0), at("removed", 100), ...done("m1", 200), drained],
  ],
  ["went with it, never acked", [send("m0", 0), got("m0", 10), at("removed", 100), drained]],
  ["went with it as a dead letter", [send("m0", 0), got("m0", 10), forward("m0", 20), at("removed", 100), drained]],
  ["went with it, and a receive brings nothing", [send("m0", 0), at("removed", 100), empty(2_000)]],
  [
    "went with it, and the next of its key came",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), at("removed", 100), got("m1", 200, k)],
  ],
  [
    "nothing came while somebody had it",
    [send("m0", 0), got("m0", 10, { invisibleMs: 9_000 }), empty(3_000), ack("m0", 4_000)],
  ],
  ["nothing came while a fault lasted", [send("m0", 0), fault(500, 5_000), empty(3_000), got("m0", 6_000)]],
  [
    "nothing came, but somebody may have got it unseen",
    [send("m0", 0), lostReceive(10), empty(2_000), got("m0", 9_000)],
  ],
  ["a power cut may forget a hand-out", [send("m0", 0), got("m0", 10), at("power-cut", 50), got("m0", 60)]],
  ["an attempt was lost with a receive", [send("m0", 0), lostReceive(10), got("m0", 2_000, { attempt: 2 })]],
  ["two sends at once may lie in any order", [send("m5", 0), send("m3", 4), got("m5", 50), got("m3", 60)]],
  [
    "one offset in two queues",
    [send("m0", 0), send("m1", 3, { offset: 0, queue: 1 }), got("m0", 10), got("m1", 20, { offset: 0, queue: 1 })],
  ],
  [
    "the next of the key after the first died",
    [send("m0", 0, k), send("m1", 10, k), got("m0", 20, k), dead("m0", 1_100), got("m1", 1_200, k)],
  ],
  [
    "another key does not wait",
    [send("m0", 0, k), send("m1", 10, { key: "j" }), got("m0", 20, k), got("m1", 30, { key: "j" })],
  ],
];

describe("the history checker (T24)", () => {
  it(`knows each of ${bad.length} bad histories by its name, and blames it for nothing else`, () => {
    assert.ok(bad.length >= 40);
    for (const [check, what, events] of bad) {
      const { violations } = checkHistory(events, { subscriptions });
      const names = [...new Set(violations.map((v) => v.check))];
      assert.deepEqual(names, [check], `${check} ${what}: ${violations.map(({ text }) => text).join("; ")}`);
    }
    assert.equal(new Set(bad.map(([check]) => check)).size, 18, "every check has its bad histories");
  });

  for (const [what, events] of good) {
    it(`has nothing against: ${what}`, () => {
      assert.deepEqual(checkHistory(events, { subscriptions }).violations, []);
    });
  }

  it("says where in a producer's sends a loss lies", () => {
    const text = (name: string) => {
      const [, , events] = bad.find(([check, what]) => check === "C1" && what.includes(name))!;
      return checkHistory(events, { subscriptions }).violations[0]?.text;
    };
    for (const where of ["prefix", "middle", "suffix"]) assert.match(text(where) ?? "", new RegExp(where));
  });

  it("raises no false alarm in 2 000 random valid histories", () => {
    const groups = { subscriptions: generatedSubscriptions };
    let deliveries = 0;
    let redeliveries = 0;
    let recovered = 0;
    for (let i = 0; i < 2_000; i++) {
      const events = generateValidHistory(new SeededRandomness((testSeed + i) >>> 0), 60);
      const { violations, counts } = checkHistory(events, groups);
      assert.deepEqual(violations, [], `seed ${testSeed + i}`);
      deliveries += counts.deliveries;
      redeliveries += counts.redeliveries;
      recovered += counts.recovered;
    }
    assert.ok(
      deliveries > 50_000 && redeliveries > 5_000 && recovered > 500,
      `${deliveries} ${redeliveries} ${recovered}`,
    );
  });

  it("takes an offset for nobody's where a group reads all, unless its message may have gone with the log", () => {
    const unknown = [send("m0", 0, { result: "info" }), ...done("m1", 30), drained];
    const checksOf = (events: readonly HistoryEvent[]) =>
      checkHistory(events, { subscriptions: [{ group: "g", topic: "t" }] }).violations.map(({ check }) => check);
    assert.deepEqual(checksOf(unknown), ["B3"]);
    assert.deepEqual(checksOf([...unknown, at("removed", 10)]), []);
  });

  it("holds each instance of a broadcast group to all that was sent from its first receive on, and to nothing from before", () => {
    const instances = ["a", "b"].map((group) => ({ group, topic: "t", beginsAtFirstReceive: true }));
    const found = (events: readonly HistoryEvent[]) =>
      checkHistory(events, { subscriptions: instances }).violations.map(({ check, text }) => `${check} ${text}`);
    const came = [empty(0, { group: "a" }), empty(1_000, { group: "b" })];
    const both = ["a", "b"].flatMap((group) => [got("m1", 2_000, { group }), ack("m1", 2_010, { group })]);
    const early = [send("m0", 500), got("m0", 600, { group: "a" }), ack("m0", 610, { group: "a" })];
    assert.deepEqual(found([...came, ...early, send("m1", 1_500), ...both]), []);
    assert.deepEqual(found([...came, ...early, send("m1", 1_500), ...both.slice(0, 2)]), [
      "C1 m1, sent ok at 1505, never reached b (suffix of p to t)",
    ]);
    assert.deepEqual(found([...came, ...early, send("m1", 1_500), ...both, got("m0", 3_000, { group: "b" })]), [
      "begin m0: got at 3005; sent ok at 505, and b came at 1000",
    ]);
    // Whom nobody has answered yet has not begun for certain.
    const unheard = [empty(0, { group: "a" }), { ...lostReceive(1_000), group: "b" }];
    assert.deepEqual(found([...unheard, send("m1", 1_500), ...both.slice(0, 2)]), []);
  });

  it("takes a hundred thousand events in its stride", () => {
    const events = Array.from({ length: 30_000 }, (_, i) => done(`m${i}`, i * 30)).flat();
    const { violations, counts } = checkHistory(events, { subscriptions });
    assert.deepEqual(violations, []);
    assert.deepEqual([counts.sendsOk, counts.deliveries, counts.acksOk], [30_000, 30_000, 30_000]);
  });
});
