import type { Command } from "commander";
import { stringify } from "yaml";
import type { GroupStatus } from "../operation/group-status.ts";
import { manifestApiVersion } from "../resource/manifest.ts";
import { defaultNamespace } from "../resource/resource-name.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print, printError } from "./output.ts";

interface CreateOptions extends ServerOption {
  readonly attemptsMax?: string;
  readonly namespace: string;
}

/** `popmesh group create|delete|describe`. */
export function register(program: Command): void {
  const group = program.command("group").description("create, delete and look at consumer groups");
  withServer(
    group
      .command("create")
      .argument("<name>")
      .description("create a consumer group; backoff and the rest by popmesh apply")
      .option("--attempts-max <count>", "hand-outs before the dead-letter queue")
      .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
  ).action(async (name: string, options: CreateOptions) => {
    const spec = options.attemptsMax === undefined ? {} : { attemptsMax: Number(options.attemptsMax) };
    const metadata = { namespace: options.namespace, name };
    const manifest = { apiVersion: manifestApiVersion, kind: "ConsumerGroup", metadata, spec };
    const [applied] = await new ApiClient(options).apply(stringify(manifest));
    print(applied?.outcome === "unchanged" ? `group "${name}" exists already` : `group "${name}" ${applied?.outcome}`);
  });
  withServer(
    group
      .command("delete")
      .argument("<name>")
      .description("delete a consumer group with its positions")
      .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
  ).action(async (name: string, options: ServerOption & { namespace: string }) => {
    await new ApiClient(options).delete(
      `/v1/namespaces/${encodeURIComponent(options.namespace)}/groups/${encodeURIComponent(name)}`,
    );
    print(`group "${name}" deleted`);
  });
  withOutput(
    withServer(
      group
        .command("describe")
        .argument("<name>")
        .description("how far the group is: ready, in flight, dead, and its lag in messages and seconds")
        .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
    ),
  ).action(async (name: string, options: ServerOption & OutputOption & { namespace: string }) => {
    const status = (await new ApiClient(options).ask(
      "GET",
      `/v1/namespaces/${encodeURIComponent(options.namespace)}/groups/${encodeURIComponent(name)}/status`,
    )) as GroupStatus;
    print(formatted(options.output, status, () => statusText(name, status)));
    for (const { error } of status.unanswered) printError(`popmesh: the figures are incomplete: ${error}`);
  });
}

function statusText(name: string, { topics }: GroupStatus): string {
  if (topics.length === 0) return `group "${name}" has not read any topic yet`;
  return tableText(
    ["TOPIC", "READY", "IN FLIGHT", "DEAD", "WAITING", "LAG", "OLDEST"],
    topics.map((topic) =>
      [
        topic.topic,
        topic.ready,
        topic.inFlight,
        topic.deadLetters,
        topic.waitingReceives,
        topic.lagMessages,
        `${topic.lagSeconds.toFixed(1)} s`,
      ].map(String),
    ),
  );
}
