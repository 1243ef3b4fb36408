import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import type { ResourceView } from "../api/view.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { isTerminal, print, redraw } from "./output.ts";
import { resourcePath } from "./resource-path.ts";
import { rolloutBlock, rolloutLine } from "./rollout-text.ts";

/** The control plane looks once a second; more often there is nothing new. */
const watchEveryMs = 1_000;

interface StatusOptions extends ServerOption {
  readonly namespace: string;
  readonly watch?: boolean;
  readonly output: string;
}

/** `popmesh rollout status|pause|resume|promote|abort`. */
export function register(program: Command): void {
  const rollout = program.command("rollout").description("look at guarded ramps of lanes, and steer them");
  withServer(
    rollout
      .command("status")
      .argument("[name]")
      .description("show where a rollout is and what its guards see; all of the namespace without a name")
      .option(
        "-w, --watch",
        "go on until it is done, rolled back or aborted; redrawn on a terminal, else a line per change",
      )
      .option("-o, --output <format>", "text or json; json with --watch is a line per look", "text")
      .option("-n, --namespace <namespace>", "namespace of the rollout", defaultNamespace),
  ).action(async (name: string | undefined, options: StatusOptions) => {
    if (options.output !== "text" && options.output !== "json")
      throw new CommandError(`-o ${options.output} is unknown; choose text or json`);
    const client = new ApiClient(options);
    const read = () => statusOf(client, options.namespace, name);
    if (options.watch === true) await watch(read, options.output, new NodeClock());
    else {
      const views = await read();
      print(options.output === "json" ? JSON.stringify(name === undefined ? views : views[0], null, 2) : blocks(views));
    }
  });
  for (const [order, description] of [
    ["pause", "stop the share where it is; guards go on looking"],
    ["resume", "go on after a pause; after a roll-back or an abort: begin again with the first step"],
    ["promote", "go on to the next step now, whatever is left of this one; the last one is done"],
    ["abort", "take the lane back now: its share to 0, what it had to base"],
  ] as const) {
    withServer(
      rollout
        .command(order)
        .argument("<name>")
        .description(description)
        .option("-n, --namespace <namespace>", "namespace of the rollout", defaultNamespace),
    ).action(async (name: string, options: ServerOption & { namespace: string }) => {
      const path = `${resourcePath("rollout", options.namespace, name)}/${order}`;
      const { phase, what } = (await new ApiClient(options).post(path, {})) as { phase: string; what: string };
      print(`rollout "${name}" is ${phase}: ${what}`);
    });
  }
}

async function statusOf(client: ApiClient, namespace: string, name: string | undefined): Promise<ResourceView[]> {
  if (name !== undefined) return [await client.get(resourcePath("rollout", namespace, name) ?? "")];
  return await client.list(`/v1/namespaces/${encodeURIComponent(namespace)}/rollouts`);
}

/** Until all that is shown has come to an end. */
async function watch(read: () => Promise<ResourceView[]>, output: string, clock: Clock): Promise<void> {
  let before = "";
  for (;;) {
    const views = await read();
    if (output === "json") for (const view of views) print(JSON.stringify(view));
    else if (isTerminal()) redraw(blocks(views));
    else {
      // What only counts down is no change.
      const lines = views.map(rolloutLine).join("\n");
      if (lines.replaceAll(/\d+ s of|\d+ of \d+ hand-outs/g, "") !== before) print(lines);
      before = lines.replaceAll(/\d+ s of|\d+ of \d+ hand-outs/g, "");
    }
    if (views.every(({ status }) => ended.includes(String(status["phase"])))) return;
    await new Promise<void>((resolve) => clock.after(watchEveryMs, resolve));
  }
}

const ended: readonly string[] = ["done", "rolled back", "aborted"];

function blocks(views: readonly ResourceView[]): string {
  return views.length === 0 ? "no rollouts" : views.map(rolloutBlock).join("\n\n");
}
