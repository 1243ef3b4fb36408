import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";
import { resourcePath } from "./resource-path.ts";

/** `popmesh delete topic|group|lanerule|ratelimit|rollout|namespace NAME`. */
export function register(program: Command): void {
  withServer(
    program
      .command("delete")
      .argument("<topic|group|lanerule|ratelimit|rollout|namespace>")
      .argument("<name>")
      .description("delete one resource; a topic goes with its messages")
      .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace)
      .option("--cascade", "of a namespace: with everything in it, messages too"),
  ).action(async (kind: string, name: string, options: ServerOption & { namespace: string; cascade?: boolean }) => {
    const path = resourcePath(kind, options.namespace, name);
    if (path === undefined)
      throw new CommandError(
        `"${kind}" cannot be deleted; choose topic, group, lanerule, ratelimit, rollout or namespace`,
      );
    if (options.cascade === true && kind !== "namespace") throw new CommandError("--cascade is for namespaces only");
    await new ApiClient(options).delete(options.cascade === true ? `${path}?cascade=true` : path);
    print(`${kind} "${name}" deleted`);
  });
}
