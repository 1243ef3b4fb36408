import { ChangeKind } from "../../broker-core/broker-port.ts";
import { keys, tags } from "./broker-model.ts";
import { BrokerRun, countsBlank, type ModelCounts } from "./broker-run.ts";
import fc, { assertUntil, tooSeldom } from "./seeded-fast-check.ts";

/** One step of a random history; prints itself so that a counterexample reads as a script. */
class Step implements fc.Command<object, BrokerRun> {
  readonly #name: string;
  readonly #args: readonly unknown[];
  readonly #action: (run: BrokerRun) => void;

  constructor(name: string, args: readonly unknown[], action: (run: BrokerRun) => void) {
    this.#name = name;
    this.#args = args;
    this.#action = action;
  }

  check(): boolean {
    return true;
  }

  run(_model: object, real: BrokerRun): void {
    this.#action(real);
  }

  toString(): string {
    return `${this.#name}(${this.#args.map((arg) => JSON.stringify(arg)).join(", ")})`;
  }
}

function step<T extends unknown[]>(
  name: string,
  args: fc.Arbitrary<T>,
  action: (run: BrokerRun, ...args: T) => void,
): fc.Arbitrary<Step> {
  return args.map((values) => new Step(name, values, (run) => action(run, ...values)));
}

const groupCount = 3;
const group = fc.nat(groupCount - 1);
const batch = fc.constantFrom(1, 2, 5, 32);
const leaseMs = fc.constantFrom(1, 50, 10_000, 60_000);
const client = fc.constantFrom("client-1", "client-2");
const any = fc.nat(1000);
const nothing = fc.constant<[]>([]);

const send = step("send", fc.tuple(fc.constantFrom(...tags)), (run, tag) => run.send(tag));
const sendDurable = step("sendDurable", fc.tuple(fc.array(fc.constantFrom(...tags), { maxLength: 8 })), (run, all) => {
  for (const tag of all) run.send(tag);
  run.sync();
});
const tag = fc.constantFrom(...tags);
const key = fc.constantFrom(...keys);
const sendFifo = step("sendFifo", fc.tuple(tag, key), (run, t, k) => run.send(t, k));
const sendFifoDurable = step(
  "sendFifoDurable",
  fc.tuple(fc.array(fc.tuple(tag, key), { maxLength: 8 })),
  (run, all) => {
    for (const [t, k] of all) run.send(t, k);
    run.sync();
  },
);
const sync = step("sync", nothing, (run) => run.sync());
const receive = step("receive", fc.tuple(group, batch, leaseMs, client), (run, g, n, ms, who) =>
  run.handOuts.receive(g, n, ms, who, "", 0),
);
const attempt = step(
  "attempt",
  fc.tuple(group, batch, leaseMs, client, fc.constantFrom("a", "b")),
  (run, g, n, ms, who, id) => run.handOuts.receive(g, n, ms, who, id, 0),
);
const wait = step(
  "wait",
  fc.tuple(group, batch, leaseMs, client, fc.constantFrom(100, 20_000)),
  (run, g, n, ms, who, waitMs) => run.handOuts.receive(g, n, ms, who, "", waitMs),
);
const ack = step("ack", fc.tuple(any), (run, index) => run.settling.ack(index, false));
const ackLast = step("ackLast", nothing, (run) =>
  run.settling.ack(run.receipts.length - 1 + run.receipts.length, false),
);
const change = (name: string, kind: ChangeKind) =>
  step(name, fc.tuple(any, fc.constantFrom(0, 20, 5_000)), (run, index, ms) => run.settling.change(index, kind, ms));

const sendHalf = step(
  "sendHalf",
  fc.tuple(fc.constantFrom(...tags), fc.constantFrom(undefined, undefined, 1, 40_000)),
  (run, tag, recoveryMs) => run.sendHalf(tag, recoveryMs),
);
const endTransaction = step(
  "endTransaction",
  fc.tuple(any, fc.constantFrom("COMMIT", "COMMIT", "ROLLBACK", "UNKNOWN"), fc.boolean()),
  (run, index, resolution, isAnswer) => run.endTransaction(index, resolution, isAnswer),
);

const endYoungest = step(
  "endYoungest",
  fc.tuple(fc.constantFrom("COMMIT", "ROLLBACK", "ROLLBACK")),
  (run, resolution) => run.endTransaction(run.halfCount - 1 + run.halfCount, resolution, false),
);

const forwardAndRedrive = step("forwardAndRedrive", fc.tuple(any), (run, index) => {
  run.settling.forward(run.receipts.length - 1 + run.receipts.length);
  for (let g = 0; g < groupCount; g++) run.settling.redrive(g, index);
});

const sendTimed = step(
  "sendTimed",
  fc.tuple(fc.constantFrom(...tags), fc.constantFrom(1, 50, 5_000, 9_500, 60_000, 3_600_000)),
  (run, tag, aheadMs) => run.sendTimed(tag, aheadMs),
);
const recall = step("recall", fc.tuple(any), (run, index) => run.recall(index));
const recallYoungest = step("recallYoungest", nothing, (run) => run.recall(run.handleCount - 1 + run.handleCount));
const reuseNumber = step("reuseNumber", fc.tuple(tag, fc.constantFrom(50, 60_000)), (run, t, aheadMs) =>
  run.reuseNumber(t, aheadMs),
);

/** The steps of T06, the frequent ones first. */
const steps = [
  send,
  sendDurable,
  sendDurable,
  sendFifo,
  sendFifoDurable,
  sendFifoDurable,
  sync,
  receive,
  receive,
  receive,
  attempt,
  attempt,
  step("repeatAttempt", nothing, (run) => run.handOuts.repeatAttempt()),
  step("repeatAttempt", nothing, (run) => run.handOuts.repeatAttempt()),
  step("repeatAttempt", nothing, (run) => run.handOuts.repeatAttempt()),
  wait,
  ack,
  ack,
  ackLast,
  ackLast,
  sendHalf,
  sendHalf,
  sendHalf,
  endTransaction,
  endTransaction,
  endTransaction,
  endYoungest,
  endYoungest,
  sendTimed,
  sendTimed,
  sendTimed,
  recall,
  recall,
  recallYoungest,
  reuseNumber,
  step("setAskable", fc.tuple(fc.constantFrom(true, true, false)), (run, isAskable) => run.setAskable(isAskable)),
  step("grow", fc.tuple(fc.boolean()), (run, isCarried) => run.grow(isCarried)),
  change("renew", ChangeKind.Renew),
  change("extend", ChangeKind.Extend),
  change("handBack", ChangeKind.HandBack),
  change("suspend", ChangeKind.Suspend),
  step("forward", fc.tuple(any), (run, index) => run.settling.forward(index)),
  step("forwardLast", nothing, (run) => run.settling.forward(run.receipts.length - 1 + run.receipts.length)),
  step("redrive", fc.tuple(group, any), (run, g, index) => run.settling.redrive(g, index)),
  forwardAndRedrive,
  forwardAndRedrive,
  step("ackAsOther", fc.tuple(any), (run, index) => run.settling.ack(index, true)),
  step("cancel", fc.tuple(any), (run, index) => run.handOuts.cancel(index)),
  step("pass", fc.tuple(fc.constantFrom(1, 7, 50, 9_000, 61_000)), (run, ms) => run.pass(ms)),
  step("pass", fc.tuple(fc.constantFrom(3, 10_000)), (run, ms) => run.pass(ms)),
  step("jumpWall", fc.tuple(fc.constantFrom(-3.2e11, -3_600_000, 5_000, 3.2e11)), (run, ms) => run.jumpWall(ms)),
  step("write", nothing, (run) => run.write()),
  step("snapshot", nothing, (run) => run.images.snapshot()),
  step("baseImage", nothing, (run) => run.images.baseImage()),
  step("trim", nothing, (run) => run.images.trim()),
  step("removeSegments", nothing, (run) => run.images.removeSegments()),
  step("compare", nothing, (run) => run.compare()),
  step("crash", fc.tuple(fc.constantFrom<"kill" | "power">("kill", "power"), fc.boolean()), (run, kind, useImage) =>
    run.crash(kind, useImage),
  ),
  step("reboot", fc.tuple(fc.constantFrom(0, 2_000, -7_200_000, 7_200_000), fc.boolean()), (run, ms, useImage) =>
    run.reboot(ms, useImage),
  ),
];

const rare = [
  step("recreate", nothing, (run) => run.recreate()),
  step(
    "reset",
    fc.tuple(group, fc.constantFrom<"earliest" | "latest" | number>("earliest", "latest", 0, 1, 3)),
    (run, g, to) => run.settling.reset(g, to),
  ),
];

/** Random histories of up to `commandsMax` steps. */
export function brokerHistories(commandsMax: number): fc.Arbitrary<Iterable<fc.Command<object, BrokerRun>>> {
  return fc.commands([...steps, ...rare], { maxCommands: commandsMax, size: "max" });
}

const ackRecent = step("ackRecent", fc.tuple(fc.nat(6)), (run, back) => {
  if (run.receipts.length > back) run.settling.ack(run.receipts.length - 1 - back, false);
});
const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

/** The same with more that is handed out and acked: histories in which every record matters to those after it. */
export function busyHistories(commandsMax: number): fc.Arbitrary<Iterable<fc.Command<object, BrokerRun>>> {
  const busy = [...many(10, sendDurable), ...many(10, sendFifoDurable), ...many(20, receive), ...many(60, ackRecent)];
  return fc.commands([...busy, ...steps, ...rare], { maxCommands: commandsMax, size: "max" });
}

/**
 * Runs random histories of up to `commandsMax` steps, until they did everything `least` times; returns what they did, so that a run that
 * did too little fails.
 */
export function checkBrokerModel(runs: number, commandsMax: number, least: number): ModelCounts {
  const total: ModelCounts = { ...countsBlank };
  assertUntil(
    fc.property(brokerHistories(commandsMax), (commands) => {
      const run = new BrokerRun();
      fc.modelRun(() => ({ model: {}, real: run }), commands);
      run.drain();
      for (const key of Object.keys(total) as (keyof ModelCounts)[]) total[key] += run.allCounts[key];
    }),
    runs,
    () => tooSeldom(total, least).length === 0,
  );
  return total;
}
