import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";

/** `popmesh apply -f FILE`: all manifests of a file come into force, or none does and every mistake is told. */
export function register(program: Command): void {
  withServer(
    program
      .command("apply")
      .description("create or change what a file declares (kinds Topic, ConsumerGroup, Namespace)")
      .requiredOption("-f, --file <path>", "YAML or JSON, one or many documents; - for standard input"),
  ).action(async (options: ServerOption & { file: string }) => {
    const text = read(options.file);
    for (const { kind, namespace, name, outcome } of await new ApiClient(options).apply(text, options.file)) {
      print(`${kind} ${kind === "Namespace" ? name : `${namespace}/${name}`} ${outcome}`);
    }
  });
}

function read(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw new CommandError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
