import { monitorEventLoopDelay } from "node:perf_hooks";

/**
 * How long a process that has nothing to do is kept from running: what the machine itself adds to every latency beside it.
 * Prints milliseconds beyond the 1 ms of its timer when it is told to stop (SIGTERM).
 */
const delays = monitorEventLoopDelay({ resolution: 1 });
delays.enable();
const staysAlive = setInterval(() => {}, 1_000);
process.on("SIGTERM", () => {
  clearInterval(staysAlive);
  const at = (percent: number) => Math.max(0, delays.percentile(percent) / 1e6 - 1).toFixed(1);
  console.log(`p99 ${at(99)} ms, p99.9 ${at(99.9)} ms, max ${(delays.max / 1e6 - 1).toFixed(1)} ms`);
});
console.log("watching");
