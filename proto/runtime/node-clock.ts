import { readFileSync } from "node:fs";
import type { Clock, Timer } from "./clock.ts";

/** The machine's own clocks. `process.hrtime` counts from boot on Linux, so it survives a restart of the process. */
export class NodeClock implements Clock {
  readonly bootId: string = readBootId();

  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    const [seconds, nanos] = process.hrtime();
    return seconds * 1000 + nanos / 1e6;
  }

  /**
   * Node counts a timer from the beginning of the loop's turn, so one set late in a long turn fires early; it is set again
   * for what is missing.
   */
  after(delayMs: number, action: () => void): Timer {
    const dueMs = this.monotonicMs() + delayMs;
    const fire = () => {
      const missingMs = dueMs - this.monotonicMs();
      if (missingMs > 0) timeout = setTimeout(fire, Math.ceil(missingMs));
      else action();
    };
    let timeout = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  }

  every(periodMs: number, action: () => void): Timer {
    const interval = setInterval(action, periodMs);
    return { cancel: () => clearInterval(interval) };
  }

  atTurnEnd(action: () => void): void {
    setImmediate(action);
  }
}

/** Linux names each boot; elsewhere the moment of boot, to the minute, serves. */
function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    const bootMs = Date.now() - Math.round(process.hrtime()[0] * 1000);
    return `boot-${Math.round(bootMs / 60_000)}`;
  }
}
