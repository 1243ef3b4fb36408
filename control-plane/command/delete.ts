import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";
import { resourcePath } from "./resource-path.ts";

/** `popmesh delete topic|group|lanerule|ratelimit|rollout NAME`. */
export function register(program: Command): void {
  withServer(
    program
      .command("delete")
      .argument("<topic|group|lanerule|ratelimit|rollout>")
      .argument("<name>")
      .description("delete one resource; a topic goes with its messages")
      .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
  ).action(async (kind: string, name: string, options: ServerOption & { namespace: string }) => {
    const path = resourcePath(kind, options.namespace, name);
    if (path === undefined)
      throw new CommandError(`"${kind}" cannot be deleted; choose topic, group, lanerule, ratelimit or rollout`);
    await new ApiClient(options).delete(path);
    print(`${kind} "${name}" deleted`);
  });
}
