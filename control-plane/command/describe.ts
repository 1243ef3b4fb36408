import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, withOutput } from "./format.ts";
import { print } from "./output.ts";
import { resourcePath } from "./resource-path.ts";

/** `popmesh describe topic|group|lanerule|ratelimit|rollout|namespace NAME`. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("describe")
        .argument("<topic|group|lanerule|ratelimit|rollout|namespace>")
        .argument("<name>")
        .description("show one resource in full")
        .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
    ),
  ).action(async (kind: string, name: string, options: ServerOption & OutputOption & { namespace: string }) => {
    const path = resourcePath(kind, options.namespace, name);
    if (path === undefined)
      throw new CommandError(
        `"${kind}" cannot be described; choose topic, group, lanerule, ratelimit, rollout or namespace`,
      );
    const view = await new ApiClient(options).get(path);
    print(
      formatted(options.output, view, () =>
        stringify({
          [`${view.kind} ${kind === "namespace" ? name : `${options.namespace}/${name}`}`]: {
            ...view.spec,
            ...view.status,
          },
        }),
      ),
    );
  });
}
