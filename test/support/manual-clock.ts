import type { Clock, Timer } from "../../proto/runtime/clock.ts";

interface PendingTimer {
  dueMs: number;
  order: number;
  periodMs: number | undefined;
  action: () => void;
}

/**
 * Time that stands still until a test moves it. Timers run in order of their due time, equal ones in order of creation. A turn
 * of the event loop ends by itself in a microtask, or with `automaticTurns: false` when the test says so.
 */
export class ManualClock implements Clock {
  readonly bootId: string;
  readonly #automaticTurns: boolean;
  #monotonicMs: number;
  #wallMs: number;
  #timers: PendingTimer[] = [];
  #created = 0;
  #turnEnd: (() => void)[] = [];

  constructor(
    options: {
      readonly monotonicMs?: number;
      readonly wallMs?: number;
      readonly bootId?: string;
      readonly automaticTurns?: boolean;
    } = {},
  ) {
    this.#monotonicMs = options.monotonicMs ?? 1_000_000;
    this.#wallMs = options.wallMs ?? Date.UTC(2030, 0, 1);
    this.bootId = options.bootId ?? "boot-1";
    this.#automaticTurns = options.automaticTurns ?? true;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#add(delayMs, undefined, action);
  }

  every(periodMs: number, action: () => void): Timer {
    return this.#add(periodMs, periodMs, action);
  }

  atTurnEnd(action: () => void): void {
    this.#turnEnd.push(action);
    if (this.#automaticTurns && this.#turnEnd.length === 1) queueMicrotask(() => this.endTurn());
  }

  /** Ends the turn: what was asked for until now runs; what those ask for belongs to the next turn. */
  endTurn(): void {
    const actions = this.#turnEnd;
    this.#turnEnd = [];
    for (const action of actions) action();
  }

  /** Timers that are still to fire. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** When the next timer is due; Infinity without one. */
  get nextDueMs(): number {
    return this.#timers[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** Somebody sets the wall clock; the monotonic one does not notice. */
  jumpWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  /** Moves time and runs what falls due, each timer in a turn of its own. Promises settle only after the return. */
  advance(ms: number): void {
    const target = this.#monotonicMs + ms;
    while (this.#runNext(target)) this.endTurn();
    this.#moveTo(target);
  }

  /** As `advance`, and lets promises settle before, between and after the timers. */
  async advanceAndSettle(ms: number): Promise<void> {
    const target = this.#monotonicMs + ms;
    await settle();
    while (this.#runNext(target)) await settle();
    this.#moveTo(target);
    await settle();
  }

  #runNext(target: number): boolean {
    const next = this.#timers[0];
    if (next === undefined || next.dueMs > target) return false;
    this.#timers.shift();
    this.#moveTo(next.dueMs);
    if (next.periodMs !== undefined) this.#insert({ ...next, dueMs: next.dueMs + next.periodMs }, next);
    next.action();
    return true;
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }

  #add(delayMs: number, periodMs: number | undefined, action: () => void): Timer {
    const timer: PendingTimer = { dueMs: this.#monotonicMs + delayMs, order: this.#created++, periodMs, action };
    this.#insert(timer);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(timer);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  /** A periodic timer keeps its object, so that its handle goes on cancelling it. */
  #insert(values: PendingTimer, timer: PendingTimer = values): void {
    timer.dueMs = values.dueMs;
    let at = this.#timers.length;
    while (at > 0 && this.#isLater(this.#timers[at - 1]!, timer)) at--;
    this.#timers.splice(at, 0, timer);
  }

  #isLater(a: PendingTimer, b: PendingTimer): boolean {
    return a.dueMs > b.dueMs || (a.dueMs === b.dueMs && a.order > b.order);
  }
}

/** Lets every promise that can settle without outside events settle. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
