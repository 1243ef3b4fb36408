import { setTimeout as pause } from "node:timers/promises";

/** Waits for a condition; fails with what was waited for. The pause between looks is no part of any assertion. */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  patienceMs = 15_000,
): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`waited ${patienceMs} ms in vain for: ${what}`);
    await pause(10);
  }
}
