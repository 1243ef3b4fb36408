import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";

interface CreateOptions extends ServerOption {
  readonly type?: string;
  readonly queues?: string;
  readonly brokers?: string;
  readonly namespace: string;
}

/** `popmesh topic create|delete`; returns the command for those who add to it. */
export function register(program: Command): Command {
  const topic = program.command("topic").description("create, delete, export and import topics");
  withServer(
    topic
      .command("create")
      .argument("<name>")
      .description("create a topic; an existing one must be of the same type")
      .option("--type <type>", "normal (default), fifo, delay, transaction, priority, lite or mixed")
      .option("--queues <count>", "queues on each broker group")
      .option("--brokers <count>", "brokers that shall hold it (all that serve now)")
      .option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace),
  ).action(async (name: string, options: CreateOptions) => {
    const spec: Record<string, unknown> = {};
    if (options.type !== undefined) spec["type"] = options.type;
    if (options.queues !== undefined) spec["queues"] = Number(options.queues);
    if (options.brokers !== undefined) spec["brokers"] = Number(options.brokers);
    const manifest = {
      apiVersion: manifestApiVersion,
      kind: "Topic",
      metadata: { namespace: options.namespace, name },
      spec,
    };
    const [applied] = await new ApiClient(options).apply(stringify(manifest));
    print(applied?.outcome === "unchanged" ? `topic "${name}" exists already` : `topic "${name}" ${applied?.outcome}`);
  });
  withServer(
    topic
      .command("delete")
      .argument("<name>")
      .description("delete a topic with its messages")
      .option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace),
  ).action(async (name: string, options: ServerOption & { namespace: string }) => {
    await new ApiClient(options).delete(
      `/v1/namespaces/${encodeURIComponent(options.namespace)}/topics/${encodeURIComponent(name)}`,
    );
    print(`topic "${name}" deleted`);
  });
  withServer(
    topic
      .command("place")
      .argument("<name>")
      .requiredOption("--add <broker>", "a broker that shall hold the topic too")
      .description(
        "spread a topic over another broker: new messages go there at once, message groups when theirs has nothing left of them",
      )
      .option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace),
  ).action(async (name: string, options: ServerOption & { namespace: string; add: string }) => {
    const path = `/v1/namespaces/${encodeURIComponent(options.namespace)}/topics/${encodeURIComponent(name)}`;
    const view = (await new ApiClient(options).ask("POST", `${path}/brokers/${encodeURIComponent(options.add)}`)) as {
      readonly status: { readonly brokers: readonly string[] };
    };
    print(`topic "${name}" lies on ${view.status.brokers.join(", ")}`);
  });
  return topic;
}
