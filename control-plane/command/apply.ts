import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print, printError } from "./output.ts";

/** `popmesh apply -f FILE`: all manifests of a file come into force, or none does and every mistake is told. */
export function register(program: Command): void {
  withServer(
    program
      .command("apply")
      .description(
        "create or change what a file declares (kinds Topic, ConsumerGroup, Namespace, LaneRule, RateLimit, Rollout)",
      )
      .requiredOption("-f, --file <path>", "YAML or JSON, one or many documents; - for standard input"),
  ).action(async (options: ServerOption & { file: string }) => {
    const text = readManifestFile(options.file);
    for (const applied of await new ApiClient(options).apply(text, options.file)) {
      const { kind, namespace, name, outcome } = applied;
      print(`${kind} ${kind === "Namespace" ? name : `${namespace}/${name}`} ${outcome}`);
      printWarnings(applied);
    }
  });
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
