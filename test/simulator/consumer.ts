import { Code } from "../../proto/code.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { ChangeKind, Delivery, UpstreamReceiveAnswer, UpstreamResults } from "../../sidecar/upstream/upstream.ts";
import type { Mesh } from "./mesh.ts";
import { type GroupPlan, type Habit, habits, nameOf, type TopicPlan } from "./plan.ts";
import { digestOf, factsOf } from "./seen-message.ts";
import { isOpen, type Seen } from "./sidecar-node.ts";

const settleTimeoutMs = 3_000;
/** An answer may be this much later than the wait that was asked for. */
const receiveGraceMs = 3_000;

/** What is known of a message that is held. */
interface Held {
  readonly id: string;
  receipt: string;
  untilMs: number;
}

/** What the history calls it: a suspension is a hand-out that does not count, as a hand-back is. */
const ops = {
  ack: "ack",
  forward: "forward",
  renew: "change",
  extend: "change",
  suspend: "hand-back",
  "hand-back": "hand-back",
} as const;

interface AskParts {
  readonly batch: number;
  readonly invisibleMs: number;
  readonly waitMs: number;
}

/** One consumer of a group: asks for messages, and does with them what consumers do. */
export class SimulatedConsumer {
  readonly #mesh: Mesh;
  readonly #topic: TopicPlan;
  readonly #group: GroupPlan;
  readonly #name: string;
  readonly #randomness: Randomness;
  #attempts = 0;
  #answers = 0;
  #leavesMs = Number.POSITIVE_INFINITY;
  isStopped = false;
  /** The end of a run: everything is acked at once. */
  isDraining = false;

  constructor(mesh: Mesh, topic: TopicPlan, group: GroupPlan, name: string) {
    this.#mesh = mesh;
    this.#topic = topic;
    this.#group = group;
    this.#name = name;
    this.#randomness = mesh.world.randomness();
  }

  start(): void {
    const { startsAfterMs = 0, leavesAfterMs } = this.#group;
    if (leavesAfterMs !== undefined) this.#leavesMs = this.#mesh.world.nowMs + startsAfterMs + leavesAfterMs;
    if (startsAfterMs > 0) this.#mesh.counts.lateInstances++;
    this.#askLater(startsAfterMs);
  }

  #askLater(afterMs: number): void {
    this.#mesh.world.after(afterMs + this.#randomness.fraction() * 5, undefined, () => {
      if (this.isStopped) return;
      if (this.#mesh.world.nowMs >= this.#leavesMs) {
        this.#mesh.counts.instancesLeft++;
        return;
      }
      const usesAttemptId = this.#randomness.fraction() < this.#group.attemptIds;
      this.#ask(usesAttemptId ? `${this.#name}#${this.#attempts++}` : "", this.#draw(), 0, this.#mesh.world.nowMs);
    });
  }

  #awayMs(): number {
    const { awayShare = 0, isAwayAtFirst = false } = this.#group;
    const isNow = isAwayAtFirst && this.#answers === 1;
    if (this.isDraining || !(isNow || (awayShare > 0 && this.#randomness.fraction() < awayShare))) return 0;
    this.#mesh.counts.absences++;
    return 100 + this.#randomness.fraction() * 3_000;
  }

  #draw(): AskParts {
    const group = this.#group;
    return {
      batch: 1 + randomIndex(this.#randomness, group.batchMax),
      invisibleMs: Math.ceil(group.invisibleMsMax * (0.1 + 0.9 * this.#randomness.fraction())),
      waitMs: this.isDraining ? 200 : Math.floor(this.#randomness.fraction() * group.waitMsMax),
    };
  }

  #ask(attemptId: string, parts: AskParts, repeats: number, firstAskedMs: number): void {
    const { world } = this.#mesh;
    const { ref, filterType, filter } = this.#group;
    const request = { topic: this.#topic.ref, group: ref, ...parts, filterType, filter };
    const t0 = world.nowMs;
    this.#mesh
      .sidecar(this.#randomness)
      .receive(
        { ...request, clientId: this.#name, attemptId, lane: "base", bytesMax: 0 },
        parts.waitMs + receiveGraceMs,
        (answer) => {
          const result = this.#took(t0, firstAskedMs, parts, answer);
          // What nobody answered is asked again, as SDKs do: the same attempt gets the same messages.
          if (result === "info" && attemptId !== "" && repeats < 3)
            this.#ask(attemptId, parts, repeats + 1, firstAskedMs);
          else this.#askLater(result === "ok" ? this.#awayMs() : 20);
        },
      );
  }

  #took(
    t0: number,
    firstAskedMs: number,
    { invisibleMs, waitMs }: AskParts,
    answer: Seen<UpstreamReceiveAnswer>,
  ): "ok" | "fail" | "info" {
    const { history, world, counts } = this.#mesh;
    const t1 = world.nowMs;
    const call = {
      op: "receive",
      client: this.#name,
      group: nameOf(this.#group),
      topic: this.#topic.ref.name,
    } as const;
    if (answer === "died" || !answer.ok) {
      const result = isOpen(answer) ? "info" : "fail";
      history.add({ ...call, t0, t1, result });
      return result;
    }
    if (answer.deliveries.length === 0) {
      // The driver answers so as well when the deadline comes, whatever the broker has done.
      const isAnswered = t1 < t0 + waitMs + receiveGraceMs - 100;
      history.add({ ...call, t0, t1, result: isAnswered ? "ok" : "info" });
      counts.emptyReceives++;
    }
    this.#answers++;
    for (const delivery of answer.deliveries) {
      const { id, ...seen } = factsOf(delivery.message);
      const { queueId: queue, offset, attempt, receipt } = delivery;
      history.add({
        ...{ ...call, t0, t1, result: "ok", id, queue, offset, attempt, receipt, invisibleMs },
        ...{ digest: digestOf(delivery.message), firstAskedMs, ...seen },
      });
      counts.deliveries++;
      this.#handle(delivery, { id, receipt, untilMs: firstAskedMs + invisibleMs });
    }
    return "ok";
  }

  #handle(delivery: Delivery, held: Held): void {
    const habit = this.isDraining ? "ack" : this.#drawHabit();
    this.#mesh.counts.habits[habit]++;
    const { world } = this.#mesh;
    const soonMs = this.#randomness.fraction() * 5;
    const leftMs = Math.max(0, held.untilMs - world.nowMs);
    const later = (ms: number, action: () => void): void => {
      world.after(ms, undefined, action);
    };
    switch (habit) {
      case "ack":
        later(soonMs, () => this.#ack(held));
        return;
      case "slow-ack":
        later(this.#randomness.fraction() * leftMs, () => this.#ack(held));
        return;
      case "late-ack":
        later(leftMs + this.#randomness.fraction() * 500, () => this.#ack(held));
        return;
      case "double-ack":
        later(soonMs, () => this.#ack(held, () => this.#ack(held)));
        return;
      case "suspend":
      case "hand-back":
      case "renew":
      case "extend":
        later(this.#randomness.fraction() * Math.min(leftMs, 200), () => this.#change(habit, held));
        return;
      case "forward":
        later(soonMs, () => this.#settle("forward", held, () => {}));
        return;
      case "forge":
        later(soonMs, () => this.#forge(delivery, held));
        return;
      case "never":
        return;
    }
  }

  #drawHabit(): Habit {
    const shares = this.#group.habits;
    let draw = this.#randomness.fraction() * habits.reduce((sum, habit) => sum + shares[habit], 0);
    for (const habit of habits) {
      draw -= shares[habit];
      if (draw < 0) return habit;
    }
    return "ack";
  }

  /** Acks until there is an answer or the receipt is over: an ack whose answer was lost may have been taken. */
  #ack(held: Held, onAcked: () => void = () => {}): void {
    this.#settle("ack", held, (result) => {
      if (result === "ok") onAcked();
      else if (result === "info" && this.#mesh.world.nowMs < held.untilMs) this.#ack(held, onAcked);
    });
  }

  #change(kind: ChangeKind, held: Held): void {
    const invisibleMs = Math.ceil(this.#randomness.fraction() * this.#group.invisibleMsMax);
    this.#settle(
      kind,
      held,
      (result) => {
        // Whoever keeps it goes on to ack it, mostly.
        if (result !== "ok" || (kind !== "renew" && kind !== "extend") || this.#randomness.fraction() < 0.2) return;
        this.#mesh.world.after(this.#randomness.fraction() * invisibleMs, undefined, () => this.#ack(held));
      },
      invisibleMs,
    );
  }

  /** What nobody may do: ack for another group, or with a receipt that was never given out. */
  #forge(delivery: Delivery, held: Held): void {
    const others = this.#mesh.plan.topics.flatMap(({ groups }) => groups).filter((group) => group !== this.#group);
    const other = others[randomIndex(this.#randomness, others.length)];
    const at = 10 + randomIndex(this.#randomness, Math.max(1, delivery.receipt.length - 10));
    const letter = delivery.receipt[at] === "A" ? "B" : "A";
    const changed = delivery.receipt.slice(0, at) + letter + delivery.receipt.slice(at + 1);
    const isForeign = other !== undefined && this.#randomness.fraction() < 0.5;
    const request = isForeign
      ? { group: other.ref, receipts: [delivery.receipt] }
      : { group: this.#group.ref, receipts: [changed] };
    this.#mesh.sidecar(this.#randomness).ack(request, settleTimeoutMs, (answer) => {
      if (answer !== "died" && answer.ok && answer.results[0]?.code === Code.Ok) {
        const what = isForeign
          ? `group ${nameOf(other)} acked what ${nameOf(this.#group)} holds`
          : `receipt ${changed}`;
        this.#mesh.violate(`receipts: a forged ack of ${held.id} was taken: ${what}`);
      }
      this.#ack(held);
    });
  }

  #settle(
    kind: ChangeKind | "ack" | "forward",
    held: Held,
    done: (result: "ok" | "fail" | "info") => void,
    invisibleMs = 0,
  ): void {
    const { world, history, counts } = this.#mesh;
    const t0 = world.nowMs;
    const { receipt, id } = held;
    const sidecar = this.#mesh.sidecar(this.#randomness);
    const answered = (answer: Seen<UpstreamResults>): void => {
      const first = answer !== "died" && answer.ok ? answer.results[0] : undefined;
      const isOk = first?.code === Code.Ok;
      const isUnknown = first === undefined ? isOpen(answer) : first.code === Code.InternalServerError;
      const result = isOk ? "ok" : isUnknown ? "info" : "fail";
      const op = ops[kind];
      const next = isOk && first.receipt !== "" ? first.receipt : undefined;
      history.add({
        ...{ op, client: this.#name, t0, t1: world.nowMs, result, group: nameOf(this.#group) },
        ...{ topic: this.#topic.ref.name, id, receipt },
        ...(op === "change" || op === "hand-back" ? { invisibleMs: kind === "hand-back" ? 0 : invisibleMs } : {}),
        ...(next === undefined ? {} : { newReceipt: next }),
      });
      counts.settles++;
      if (result === "ok" && kind === "ack") counts.acksOk++;
      if (next !== undefined) {
        held.receipt = next;
        held.untilMs = t0 + invisibleMs;
      }
      done(result);
    };
    const group = this.#group.ref;
    if (kind === "ack") sidecar.ack({ group, receipts: [receipt] }, settleTimeoutMs, answered);
    else if (kind === "forward") sidecar.deadLetter({ group, receipts: [receipt] }, settleTimeoutMs, answered);
    else sidecar.change({ group, changes: [{ receipt, kind, invisibleMs }] }, settleTimeoutMs, answered);
  }
}
