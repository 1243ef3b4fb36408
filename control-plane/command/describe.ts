import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, withOutput } from "./format.ts";
import { print } from "./output.ts";

const pathByKind: Readonly<Record<string, string>> = { topic: "topics", group: "groups" };

/** `popmesh describe topic|group NAME`. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("describe")
        .argument("<topic|group>")
        .argument("<name>")
        .description("show one resource in full")
        .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
    ),
  ).action(async (kind: string, name: string, options: ServerOption & OutputOption & { namespace: string }) => {
    const path = pathByKind[kind];
    if (path === undefined) throw new CommandError(`"${kind}" cannot be described; choose topic or group`);
    const namespace = encodeURIComponent(options.namespace);
    const view = await new ApiClient(options).get(`/v1/namespaces/${namespace}/${path}/${encodeURIComponent(name)}`);
    print(
      formatted(options.output, view, () =>
        stringify({ [`${view.kind} ${options.namespace}/${name}`]: { ...view.spec, ...view.status } }),
      ),
    );
  });
}
