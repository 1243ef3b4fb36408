import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { WallClockHistory } from "./wall-clock-history.ts";
import type { EventOwner, World } from "./world.ts";

/** A computer: its clocks outlive its processes, and begin anew with each boot. */
export class Machine {
  readonly #world: World;
  #boots = 1;
  #bootedMs: number;
  #wallOffsetMs: number;
  /** Whenever the wall clock was set, beginning with the first time. */
  readonly wallClock = new WallClockHistory();

  constructor(world: World, wallMs = Date.UTC(2030, 0, 1)) {
    this.#world = world;
    // Up for a while already.
    this.#bootedMs = world.nowMs - 1_000_000;
    this.#wallOffsetMs = wallMs - world.nowMs;
    this.wallClock.set(world.nowMs, this.#wallOffsetMs);
  }

  get bootId(): string {
    return `boot-${this.#boots}`;
  }

  get monotonicMs(): number {
    return this.#world.nowMs - this.#bootedMs;
  }

  /** Whole milliseconds, as the system gives them. */
  get wallMs(): number {
    return Math.floor(this.#world.nowMs + this.#wallOffsetMs);
  }

  /** How far the wall clock is from the world's time. */
  get wallOffsetMs(): number {
    return this.#wallOffsetMs;
  }

  /** Somebody sets the wall clock. */
  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.wallClock.set(this.#world.nowMs, this.#wallOffsetMs);
  }

  /** The monotonic clock begins again. */
  reboot(): void {
    this.#boots++;
    this.#bootedMs = this.#world.nowMs - 3_000;
  }
}

/**
 * One life of a process, as an event loop: what comes while a turn runs, or while the process is stopped, waits and is taken
 * together in one turn. Its clock is the door through which all its time comes.
 */
export class SimulatedProcess implements Clock, EventOwner {
  readonly number: number;
  readonly bootId: string;
  readonly #world: World;
  readonly #machine: Machine;
  readonly #randomness: Randomness;
  #isDead = false;
  /** In a turn, or stopped: nothing is taken before. */
  #busyUntilMs = 0;
  #isAwakeAsked = false;
  #isInTurn = false;
  #inbox: { readonly action: () => void; readonly isCancelled: () => boolean }[] = [];
  #turnEnd: (() => void)[] = [];

  constructor(world: World, machine: Machine, randomness: Randomness) {
    this.#world = world;
    this.#machine = machine;
    this.#randomness = randomness;
    this.bootId = machine.bootId;
    this.number = world.nextProcessNumber();
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  wallMs(): number {
    return this.#machine.wallMs;
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs;
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#world.after(delayMs, this, action);
  }

  every(periodMs: number, action: () => void): Timer {
    let timer = this.after(periodMs, fire);
    const again = (): void => {
      timer = this.after(periodMs, fire);
    };
    function fire(): void {
      again();
      action();
    }
    return { cancel: () => timer.cancel() };
  }

  atTurnEnd(action: () => void): void {
    this.#turnEnd.push(action);
    // By what settled after a turn: it needs a turn of its own.
    if (!this.#isInTurn) this.#askToWake();
  }

  /** Has something done in a turn of this process as soon as it comes to it. */
  post(action: () => void): void {
    this.#world.after(0, this, action);
  }

  /** Nothing of it runs any more. */
  die(): void {
    this.#isDead = true;
    this.#inbox = [];
    this.#turnEnd = [];
  }

  /** SIGSTOP for `ms`, then SIGCONT. */
  stop(ms: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#world.nowMs + ms);
  }

  take(action: () => void, isCancelled: () => boolean): boolean {
    if (this.#isDead) return false;
    this.#inbox.push({ action, isCancelled });
    if (this.#busyUntilMs > this.#world.nowMs) {
      this.#askToWake();
      return false;
    }
    this.#runTurn();
    return true;
  }

  #askToWake(): void {
    if (this.#isAwakeAsked || this.#isDead) return;
    this.#isAwakeAsked = true;
    this.#world.at(Math.max(this.#busyUntilMs, this.#world.nowMs), this.#waker, () => {});
  }

  readonly #waker: EventOwner = {
    number: 0,
    take: () => {
      this.#isAwakeAsked = false;
      if (this.#isDead || (this.#inbox.length === 0 && this.#turnEnd.length === 0)) return false;
      if (this.#busyUntilMs > this.#world.nowMs) {
        this.#askToWake();
        return false;
      }
      this.#runTurn();
      return true;
    },
  };

  #runTurn(): void {
    const inbox = this.#inbox;
    this.#inbox = [];
    this.#isInTurn = true;
    try {
      for (const { action, isCancelled } of inbox) if (!isCancelled() && !this.#isDead) action();
      const turnEnd = this.#turnEnd;
      this.#turnEnd = [];
      for (const action of turnEnd) if (!this.#isDead) action();
    } catch (error) {
      this.#world.fail(error);
    }
    this.#isInTurn = false;
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#world.nowMs + 0.01 + this.#randomness.fraction() * 0.1);
    if (this.#turnEnd.length > 0) this.#askToWake();
  }
}
