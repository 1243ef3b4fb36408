/**
 * Unified diffs, applied strictly and without a tool: the tests run where there is neither git nor `patch`. What a hunk expects must
 * stand in the file exactly, and once; the line numbers in the diff say nothing. So a change elsewhere in the file does not matter,
 * and one in the very place fails the patch instead of moving it.
 */
export interface Patch {
  readonly hunks: readonly Hunk[];
}

export interface Hunk {
  /** Relative to the root. */
  readonly path: string;
  /** From 1, in the order of the patch. */
  readonly number: number;
  readonly before: string;
  readonly after: string;
}

/** The patch fits no text that it was made for. The message names file and hunk. */
export class PatchError extends Error {
  override readonly name = "PatchError";
}

/** Reads the part of `text` that is a diff: from the first "--- a/" on. Only changes of files, no new or removed ones. */
export function parsePatch(text: string): Patch {
  const lines = text.split("\n");
  const hunks: Hunk[] = [];
  let path: string | undefined;
  for (let at = lines.findIndex((line) => line.startsWith("--- a/")); at >= 0 && at < lines.length; ) {
    const line = lines[at]!;
    if (line.startsWith("--- a/")) {
      path = line.slice("--- a/".length);
      if (lines[at + 1] !== `+++ b/${path}`) throw new PatchError(`"--- a/${path}" is not followed by "+++ b/${path}"`);
      at += 2;
    } else if (line.startsWith("@@ ")) {
      if (path === undefined) throw new PatchError(`"${line}" comes before any file`);
      const { hunk, end } = parseHunk(lines, at, path, hunks.length + 1);
      hunks.push(hunk);
      at = end;
    } else if (line === "") at++;
    else throw new PatchError(`"${line}" is no line of a diff`);
  }
  if (hunks.length === 0) throw new PatchError("there is no hunk in it");
  return { hunks };
}

const hunkHead = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/;

function parseHunk(lines: readonly string[], start: number, path: string, number: number): { hunk: Hunk; end: number } {
  const head = hunkHead.exec(lines[start]!);
  if (head === null) throw new PatchError(`hunk ${number} (${path}): "${lines[start]}" is no head of a hunk`);
  let beforeLeft = Number(head[1] ?? 1);
  let afterLeft = Number(head[2] ?? 1);
  const before: string[] = [];
  const after: string[] = [];
  let at = start + 1;
  for (; beforeLeft > 0 || afterLeft > 0; at++) {
    const line = lines[at];
    const mark = line?.[0];
    if (line === undefined || mark === undefined || !" -+".includes(mark)) {
      throw new PatchError(`hunk ${number} (${path}) ends before the lines that its head counts`);
    }
    if (mark !== "+") {
      before.push(line.slice(1));
      beforeLeft--;
    }
    if (mark !== "-") {
      after.push(line.slice(1));
      afterLeft--;
    }
  }
  const [beforeText, afterText] = [before, after].map((part) => part.map((line) => `${line}\n`).join("")) as [
    string,
    string,
  ];
  if (beforeText === "") throw new PatchError(`hunk ${number} (${path}) has no context: nothing says where it belongs`);
  if (beforeText === afterText) throw new PatchError(`hunk ${number} (${path}) changes nothing`);
  return { hunk: { path, number, before: beforeText, after: afterText }, end: at };
}

/**
 * The files that the patch changes, with their new text. `read` gives the text of a file, or undefined where there is none. Throws
 * `PatchError` when a hunk does not fit.
 */
export function applyPatch(patch: Patch, read: (path: string) => string | undefined): ReadonlyMap<string, string> {
  const changed = new Map<string, string>();
  for (const hunk of patch.hunks) {
    const text = changed.get(hunk.path) ?? read(hunk.path);
    if (text === undefined) throw new PatchError(`hunk ${hunk.number}: there is no ${hunk.path} any more`);
    changed.set(hunk.path, applyHunk(hunk, text));
  }
  return changed;
}

function applyHunk({ path, number, before, after }: Hunk, text: string): string {
  const places = placesOf(`\n${before}`, `\n${text}`);
  if (places.length !== 1) {
    const found = places.length === 0 ? "does not stand there" : `stands there ${places.length} times`;
    throw new PatchError(`hunk ${number}: what it expects in ${path} ${found}:\n${before}`);
  }
  const at = places[0]!;
  return text.slice(0, at) + after + text.slice(at + before.length);
}

function placesOf(wanted: string, text: string): number[] {
  const places: number[] = [];
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) places.push(at);
  return places;
}
