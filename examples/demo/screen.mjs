const isTerminal = process.stdout.isTTY === true;
const startedMs = performance.now();
let isDrawn = false;
let lastLineMs = 0;

function clear() {
  if (isDrawn) process.stdout.write("\x1b[1A\x1b[0K");
  isDrawn = false;
}

function time() {
  return `${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(5)} s`;
}

/** What the demo does now; stays on the screen. */
export function chapter(text) {
  clear();
  console.log(`${time()}  ${text}`);
}

/** The counts so far: redrawn on a terminal, else a line every two seconds. */
export function progress({ sentCount, handledBy, failed }) {
  const text = `${time()}    sent ${sentCount}, handled by base ${handledBy.base}, by canary ${handledBy.canary}, failed by the bad version ${failed}`;
  if (!isTerminal && performance.now() - lastLineMs < 2_000) return;
  lastLineMs = performance.now();
  clear();
  console.log(text);
  isDrawn = isTerminal;
}

export function table(rows) {
  clear();
  const width = Math.max(...rows.map(([name]) => name.length));
  console.log("");
  for (const [name, value] of rows) console.log(`  ${name.padEnd(width)}  ${String(value).padStart(6)}`);
  console.log("");
}

export function took() {
  return time().trim();
}
