import type { Command } from "commander";
import { stringify } from "yaml";
import type { Difference } from "../api/diff.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { printWarnings, readManifestFile } from "./apply.ts";
import { formatted, type OutputOption, withOutput } from "./format.ts";
import { lineDifferences } from "./line-difference.ts";
import { print } from "./output.ts";

/** `popmesh diff -f FILE`: what `apply` would change, and changes nothing. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("diff")
        .description("show what apply would change, and change nothing")
        .requiredOption("-f, --file <path>", "YAML or JSON, one or many documents; - for standard input"),
    ),
  ).action(async (options: ServerOption & OutputOption & { file: string }) => {
    const text = readManifestFile(options.file);
    const answer = await new ApiClient(options).ask("POST", "/v1/diff", text, options.file);
    const { differences } = answer as { differences: Difference[] };
    print(formatted(options.output, differences, () => differences.map(differenceText).join("\n")));
    for (const difference of differences) printWarnings(difference);
  });
}

function differenceText({ kind, namespace, name, outcome, before, after }: Difference): string {
  const title = `${kind} ${kind === "Namespace" ? name : `${namespace}/${name}`}`;
  if (outcome === "unchanged") return `${title} would stay as it is`;
  const head = `${title} would be ${outcome}`;
  return [head, ...lineDifferences(linesOf(before), linesOf(after)).map((line) => `  ${line}`)].join("\n");
}

function linesOf(spec: object | null): string[] {
  return spec === null ? [] : stringify(spec).trimEnd().split("\n");
}
