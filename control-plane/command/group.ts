import type { Command } from "commander";
import { stringify } from "yaml";
import { manifestApiVersion } from "../resource/manifest.ts";
import { defaultNamespace } from "../resource/resource-name.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";

interface CreateOptions extends ServerOption {
  readonly attemptsMax?: string;
  readonly namespace: string;
}

/** `popmesh group create|delete`. */
export function register(program: Command): void {
  const group = program.command("group").description("create and delete consumer groups");
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
}
