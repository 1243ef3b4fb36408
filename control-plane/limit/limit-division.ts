import { divideLimit } from "./divide-limit.ts";

/** A demand that ends is believed to come back for a while: half of it counts after each report. */
const demandDecay = 0.5;
/** Shares are divided anew this often, and whenever somebody comes or goes. */
const divideMsMin = 200;

interface Holder {
  want: number;
  /** The most that the sidecar may be using: what it said it holds, or what it was told since, whichever is more. */
  granted: number;
  /** What it would get if nobody had to give anything back first. */
  target: number;
  untilMs: number;
}

/**
 * Who has how much of one unit of one limit; shares are parts of it. What a sidecar may be using is taken as used until it says
 * itself that it is not, or its lease is over: so shares are taken away before they are given, and an answer that was lost does no
 * harm. Pure: time is handed in, monotonic.
 */
export class LimitDivision {
  readonly #holders = new Map<string, Holder>();
  #dividedMs = Number.NEGATIVE_INFINITY;
  /** Until then others may hold shares that this control plane does not know of, and nobody gets more than it has. */
  readonly #learnsUntilMs: number;

  constructor(learnsUntilMs: number) {
    this.#learnsUntilMs = learnsUntilMs;
  }

  /** The most that each sidecar may be using. */
  get granted(): ReadonlyMap<string, number> {
    return new Map([...this.#holders].map(([sidecar, { granted }]) => [sidecar, granted]));
  }

  /** A sidecar says what it wants and holds; returns what it may use. The lease starts anew. */
  report(sidecar: string, want: number, held: number, nowMs: number, leaseMs: number): number {
    this.expire(nowMs);
    let holder = this.#holders.get(sidecar);
    const isNew = holder === undefined;
    if (holder === undefined) {
      holder = { want: 0, granted: 0, target: 0, untilMs: 0 };
      this.#holders.set(sidecar, holder);
    }
    holder.want = Math.max(want, holder.want * demandDecay);
    // It has no other question open, so it cannot be using anything else.
    holder.granted = Math.min(1, Math.max(0, held));
    holder.untilMs = nowMs + leaseMs;
    this.#divide(nowMs, isNew);
    const share = this.#shareOf(holder, isNew, nowMs);
    holder.granted = Math.max(holder.granted, share);
    return share;
  }

  /** A sidecar said goodbye. */
  leave(sidecar: string): void {
    if (this.#holders.delete(sidecar)) this.#dividedMs = Number.NEGATIVE_INFINITY;
  }

  /** Forgets whose lease is over. */
  expire(nowMs: number): void {
    for (const [sidecar, { untilMs }] of this.#holders) if (untilMs <= nowMs) this.leave(sidecar);
  }

  /** Whether a sidecar gets less than it should, because others have not given it back yet. */
  isOwed(sidecar: string): boolean {
    const holder = this.#holders.get(sidecar);
    return holder !== undefined && holder.granted < holder.target * 0.95;
  }

  #shareOf(holder: Holder, isNew: boolean, nowMs: number): number {
    const { granted: held, target } = holder;
    if (nowMs < this.#learnsUntilMs) return held;
    if (target <= held) return target;
    let others = 0;
    for (const other of this.#holders.values()) if (other !== holder) others += other.granted;
    const free = Math.max(0, 1 - others);
    // Of several that come at once, each shall get something.
    return Math.min(target, Math.max(held, isNew && this.#holders.size > 1 ? free / 2 : free));
  }

  #divide(nowMs: number, isNew: boolean): void {
    if (!isNew && nowMs - this.#dividedMs < divideMsMin) return;
    this.#dividedMs = nowMs;
    const holders = [...this.#holders.values()];
    const targets = divideLimit(holders.map(({ want }) => want));
    for (const [i, holder] of holders.entries()) holder.target = targets[i] ?? 0;
  }
}
