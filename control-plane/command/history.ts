import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { printWarnings } from "./apply.ts";
import { wholeNumber } from "./argument.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { lineDifferences } from "./line-difference.ts";
import { print } from "./output.ts";
import { resourcePath } from "./resource-path.ts";

/** A version as the API tells it. */
interface Version {
  readonly generation: number;
  readonly at: string;
  readonly by: string;
  readonly action: string;
  readonly contentOf?: number;
  readonly reason?: string;
  readonly spec: object | null;
}

/** What became of a rollout, as the API tells it. */
interface Event {
  readonly at: string;
  readonly by: string;
  readonly what: string;
}

function eventTable(events: readonly Event[]): string {
  return tableText(
    ["AT", "BY", "WHAT"],
    events.map(({ at, by, what }) => [at, by, what]),
  );
}

/** `popmesh history lanerule|ratelimit|rollout NAME` and `popmesh rollback lanerule NAME`. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("history")
        .argument("<lanerule|ratelimit|rollout>")
        .argument("<name>")
        .description(
          "list the versions of a lane rule or rate limit with what they changed, or what became of a rollout; newest first",
        )
        .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
    ),
  ).action(async (kind: string, name: string, options: ServerOption & OutputOption & { namespace: string }) => {
    if (kind === "rollout") {
      const { items } = (await new ApiClient(options).ask(
        "GET",
        `${resourcePath(kind, options.namespace, name)}/history`,
      )) as { items: Event[] };
      print(formatted(options.output, items, () => eventTable(items)));
      return;
    }
    const path = `${pathOf(kind, ["lanerule", "ratelimit"], options.namespace, name)}/history`;
    const { items } = (await new ApiClient(options).ask("GET", path)) as { items: Version[] };
    print(formatted(options.output, items, () => historyText(items)));
  });
  withServer(
    program
      .command("rollback")
      .argument("<lanerule>")
      .argument("<name>")
      .description("give a lane rule the content of an earlier version, as a new version")
      .option("--to <version>", "version whose content it gets; left out: the newest with another content than now")
      .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
  ).action(async (kind: string, name: string, options: ServerOption & { namespace: string; to?: string }) => {
    const path = `${pathOf(kind, ["lanerule"], options.namespace, name)}/rollback`;
    const to = options.to === undefined ? {} : { to: wholeNumber(options.to) };
    const answer = (await new ApiClient(options).post(path, to)) as {
      outcome: string;
      generation: number;
      warnings: string[];
    };
    print(
      answer.outcome === "unchanged"
        ? `lanerule "${name}" has that content already; it is version ${answer.generation}`
        : `lanerule "${name}" rolled back; it is version ${answer.generation} now`,
    );
    printWarnings(answer);
  });
}

function pathOf(kind: string, kinds: readonly string[], namespace: string, name: string): string {
  const path = kinds.includes(kind) ? resourcePath(kind, namespace, name) : undefined;
  if (path === undefined)
    throw new CommandError(`no versions to use are kept of "${kind}"; choose ${kinds.join(" or ")}`);
  return path;
}

function historyText(versions: readonly Version[]): string {
  const rows = versions.map(({ generation, at, by, action, contentOf }) =>
    [generation, at, by, contentOf === undefined ? action : `${action} to ${contentOf}`].map(String),
  );
  const [head = "", ...lines] = tableText(["VERSION", "AT", "BY", "WHAT"], rows).split("\n");
  return [head, ...lines.flatMap((line, i) => [line, ...reasonOf(versions[i]), ...changeOf(versions, i)])].join("\n");
}

function reasonOf(version: Version | undefined): string[] {
  return version?.reason === undefined ? [] : [`    because ${version.reason}`];
}

/** What a version changed of the one before; the oldest is told whole. */
function changeOf(versions: readonly Version[], index: number): string[] {
  const [after, before] = [versions[index], versions[index + 1]].map((version) =>
    version?.spec == null ? [] : stringify(version.spec).trimEnd().split("\n"),
  );
  return lineDifferences(before ?? [], after ?? [])
    .filter((line) => !line.startsWith(" "))
    .map((line) => `    ${line}`);
}
