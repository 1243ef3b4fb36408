import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { momentOf } from "./argument.ts";
import { formatted, type OutputOption } from "./format.ts";
import { print, printError } from "./output.ts";
import { untilInForce, type WaitOptions, withWait } from "./wait-in-force.ts";

interface ApplyOptions extends ServerOption, OutputOption, WaitOptions {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly since: string;
}

/** One manifest of a dry run as the API answers it. */
interface DryRunItem {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly outcome: string;
  readonly warnings?: readonly string[];
  readonly text?: readonly string[];
  readonly problem?: string;
}

/** `popmesh apply -f FILE`: all manifests of a file come into force, or none does and every mistake is told. */
export function register(program: Command): void {
  withWait(
    withServer(
      program
        .command("apply")
        .description(
          "create or change what a file declares (kinds Topic, ConsumerGroup, Namespace, LaneRule, RateLimit, Rollout)",
        )
        .requiredOption("-f, --file <path>", "YAML or JSON, one or many documents; - for standard input")
        .option(
          "--dry-run",
          "change nothing; hold lane rules against the messages since --since, and tell what would go where",
        )
        .option("--since <time>", "of a dry run: 2026-01-01T00:00:00Z, or 10m", "10m")
        .option("-o, --output <format>", "of a dry run: table, json or yaml", "table"),
    ),
  ).action(async (options: ApplyOptions) => {
    const text = readManifestFile(options.file);
    if (options.dryRun === true) return dryRun(text, options);
    const api = new ApiClient(options);
    const lines = await api.apply(text, options.file);
    for (const applied of lines) {
      const { kind, namespace, name, outcome } = applied;
      print(`${kind} ${kind === "Namespace" ? name : `${namespace}/${name}`} ${outcome}`);
      printWarnings(applied);
    }
    await untilInForce(api, lines, options);
  });
}

async function dryRun(text: string, options: ApplyOptions): Promise<void> {
  const path = `/v1/dry-run?since=${momentOf(options.since)}`;
  const { items } = (await new ApiClient(options).ask("POST", path, text, options.file)) as { items: DryRunItem[] };
  print(formatted(options.output, items, () => items.map((item) => dryRunText(item)).join("\n")));
  for (const item of items) printWarnings(item);
}

function dryRunText({ kind, namespace, name, outcome, text = [], problem }: DryRunItem): string {
  const title = `${kind} ${kind === "Namespace" ? name : `${namespace}/${name}`}`;
  const head = outcome === "unchanged" ? `${title} would stay as it is` : `${title} would be ${outcome}`;
  return [head, ...text.map((line) => `  ${line}`), ...(problem === undefined ? [] : [`  ${problem}`])].join("\n");
}

/** What is in force and may not be what was meant. */
export function printWarnings({ warnings = [] }: { readonly warnings?: readonly string[] }): void {
  for (const warning of warnings) printError(`  warning: ${warning}`);
}

/** The text of a file, or of standard input for "-". */
export function readManifestFile(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw new CommandError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
