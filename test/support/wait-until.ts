import { setTimeout as pause } from "node:timers/promises";

const lookMs = 10;
/** What one look takes of the patience at most: on a machine that does something else meanwhile, patience lasts longer. */
const lookMsMax = 5 * lookMs;

/**
 * Waits for a condition; fails with what was waited for. The pause between looks is no part of any assertion, and neither is the
 * patience: it ends a wait for what does not come.
 */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  patienceMs = 15_000,
): Promise<void> {
  const startedMs = performance.now();
  let lastMs = startedMs;
  for (let waitedMs = 0; !(await condition()); ) {
    const now = performance.now();
    waitedMs += Math.min(now - lastMs, lookMsMax);
    lastMs = now;
    if (waitedMs > patienceMs) throw new Error(`waited ${Math.round(now - startedMs)} ms in vain for: ${what}`);
    await pause(lookMs);
  }
}
