import { printError } from "./output.ts";

/** Says which brokers are missing from what was printed. */
export function printUnanswered(missing: readonly { readonly broker: string; readonly error: string }[]): void {
  for (const { error } of missing) printError(`popmesh: not complete: ${error}`);
}
