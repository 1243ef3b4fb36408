/** The one door to standard output and error for what a command tells its user; log lines go through `Log`. */
export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

export function printError(text: string): void {
  process.stderr.write(text.endsWith("\n") ? text : `${text}\n`);
}

/** Whether somebody looks at it who sees it redrawn. */
export function isTerminal(): boolean {
  return process.stdout.isTTY === true;
}

/** Lines of the last `redraw`. */
let drawn = 0;

/** On a terminal: takes the place of what was drawn last. */
export function redraw(text: string): void {
  const lines = text.split("\n");
  const columns = process.stdout.columns ?? 80;
  // A line that wraps would count for two.
  const cut = lines.map((line) => (line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`));
  process.stdout.write(`${drawn === 0 ? "" : `\x1b[${drawn}A`}\x1b[0J${cut.join("\n")}\n`);
  drawn = cut.length;
}
