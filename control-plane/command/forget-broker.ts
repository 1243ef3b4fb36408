import type { Command } from "commander";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";

/** `popmesh forget-broker NAME`. */
export function register(program: Command): void {
  withServer(
    program
      .command("forget-broker")
      .argument("<name>")
      .description("give up a broker that will not come back, with the messages it held"),
  ).action(async (name: string, options: ServerOption) => {
    await new ApiClient(options).delete(`/v1/brokers/${encodeURIComponent(name)}`);
    print(`broker "${name}" forgotten; topics that were only there have a new place`);
  });
}
