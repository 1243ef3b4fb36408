import type { Command } from "commander";
import { stringify } from "yaml";
import { CommandError } from "./api-client.ts";

/** Adds `-o`, which chooses between a table for people and data for programs. */
export function withOutput(command: Command): Command {
  return command.option("-o, --output <format>", "table, json or yaml", "table");
}

export interface OutputOption {
  readonly output: string;
}

/** `value` as the user asked for it; `table` is called for the human form only. */
export function formatted(output: string, value: unknown, table: () => string): string {
  switch (output) {
    case "table":
      return table();
    case "json":
      return JSON.stringify(value, null, 2);
    case "yaml":
      return stringify(value);
    default:
      throw new CommandError(`-o ${output} is unknown; choose table, json or yaml`);
  }
}

/** Columns padded to their widest cell, two spaces apart. */
export function tableText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
