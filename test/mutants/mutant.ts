import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../support/running-process.ts";
import { type Patch, PatchError, parsePatch } from "./patch.ts";

/** A planted bug (T08): a small patch of the source that the tests must notice. */
export interface Mutant {
  /** 1 to 24, as the test plan counts them. */
  readonly number: number;
  readonly fileName: string;
  /** What a tired engineer did. */
  readonly bug: string;
  /** The promises that it breaks: B1 and so on. */
  readonly breaks: string;
  /** Test files that must notice, in the order in which they are asked; relative to the root. */
  readonly judges: readonly string[];
  readonly patch: Patch;
}

export const mutantCount = 45;

export const mutantsFolder = join(repositoryRoot, "test/mutants");

const fileNamePattern = /^(\d\d)-[a-z0-9-]+\.patch$/;

/** All of `test/mutants/`, by number. Throws `PatchError` for one that is not well formed. */
export function readMutants(folder = mutantsFolder): Mutant[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".patch"))
    .sort()
    .map((name) => readMutant(name, readFileSync(join(folder, name), "utf8")));
}

/** Reads one patch file: lines "Bug: ", "Breaks: " and "Judges: " (with commas), then whatever else is to be said, then the diff. */
export function readMutant(fileName: string, text: string): Mutant {
  const name = fileNamePattern.exec(fileName);
  if (name === null) throw new PatchError(`${fileName}: the name of a patch is NN-what-is-wrong.patch`);
  const head = text.slice(0, text.indexOf("\n--- a/") + 1);
  const field = (label: string): string => {
    const value = new RegExp(`^${label}: (.+)$`, "m").exec(head)?.[1];
    if (value === undefined) throw new PatchError(`${fileName}: there is no line "${label}: " before the diff`);
    return value.trim();
  };
  try {
    return {
      number: Number(name[1]),
      fileName,
      bug: field("Bug"),
      breaks: field("Breaks"),
      judges: field("Judges").split(/,\s*/),
      patch: parsePatch(text),
    };
  } catch (error) {
    if (error instanceof PatchError && !error.message.startsWith(fileName)) {
      throw new PatchError(`${fileName}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
