import type { HistoryEvent, HistoryOp } from "../support/history-checker.ts";
import type { World } from "./world.ts";

/** What clients saw, as they saw it, for the history checker. */
export class HistoryRecorder {
  readonly events: HistoryEvent[] = [];
  readonly #world: World;
  /** Windows of faults: begun, and until when at the latest. */
  faultsUntilMs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  add(event: HistoryEvent): void {
    this.events.push(event);
    this.#world.trace(event.t1 * 1000);
    this.#world.trace(event.op.length + (event.attempt ?? 0) * 16 + event.result.length * 1024);
  }

  /** Something that happens at one moment. */
  mark(op: HistoryOp): void {
    const { nowMs } = this.#world;
    this.add({ op, t0: nowMs, t1: nowMs, result: "ok" });
  }

  /** Something goes wrong for so long; 0 for what nobody may notice. */
  fault(windowMs: number): void {
    const { nowMs } = this.#world;
    if (windowMs > 0) this.add({ op: "fault", t0: nowMs, t1: nowMs + windowMs, result: "ok" });
    this.faultsUntilMs = Math.max(this.faultsUntilMs, this.#world.nowMs + windowMs);
  }

  get isInFault(): boolean {
    return this.#world.nowMs <= this.faultsUntilMs;
  }
}
