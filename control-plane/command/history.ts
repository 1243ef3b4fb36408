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
import { untilInForce, type WaitOptions, withWait } from "./wait-in-force.ts";

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

interface RollbackOptions extends ServerOption, WaitOptions {
  readonly namespace: string;
  readonly to?: string;
}

/** Kinds whose versions are kept, as users write them. */
const versionedKinds = ["lanerule", "ratelimit", "namespace"] as const;

/** `popmesh history lanerule|ratelimit|namespace|rollout NAME` and `popmesh rollback lanerule|ratelimit|namespace NAME`. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("history")
        .argument(`<${versionedKinds.join("|")}|rollout>`)
        .argument("<name>")
        .description(
          "list the versions of a lane rule, rate limit or namespace with what they changed, or what became of a rollout; newest first",
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
    const path = `${pathOf(kind, "history", options.namespace, name)}/history`;
    const { items } = (await new ApiClient(options).ask("GET", path)) as { items: Version[] };
    print(formatted(options.output, items, () => historyText(items)));
  });
  withWait(
    withServer(
      program
        .command("rollback")
        .argument(`<${versionedKinds.join("|")}>`)
        .argument("<name>")
        .description("give a lane rule, rate limit or namespace the content of an earlier version, as a new version")
        .option("--to <version>", "version whose content it gets; left out: the newest with another content than now")
        .option("-n, --namespace <namespace>", "namespace of the resource", defaultNamespace),
    ),
  ).action(async (kind: string, name: string, options: RollbackOptions) => {
    const path = `${pathOf(kind, "rollback", options.namespace, name)}/rollback`;
    const to = options.to === undefined ? {} : { to: wholeNumber(options.to) };
    const api = new ApiClient(options);
    const answer = (await api.post(path, to)) as {
      outcome: string;
      generation: number;
      warnings: string[];
    };
    print(
      answer.outcome === "unchanged"
        ? `${kind} "${name}" has that content already; it is version ${answer.generation}`
        : `${kind} "${name}" rolled back; it is version ${answer.generation} now`,
    );
    printWarnings(answer);
    if (kind !== "lanerule") return;
    const { outcome, generation } = answer;
    await untilInForce(api, [{ kind: "LaneRule", namespace: options.namespace, name, outcome, generation }], options);
  });
}

/** Where the API has a resource whose versions are kept. Throws what there is instead for one of another kind. */
function pathOf(kind: string, command: "history" | "rollback", namespace: string, name: string): string {
  const isVersioned = (versionedKinds as readonly string[]).includes(kind);
  const path = isVersioned ? resourcePath(kind, namespace, name) : undefined;
  if (path !== undefined) return path;
  const choice = `choose ${versionedKinds.join(", ")}`;
  if (kind === "rollout") {
    throw new CommandError(
      `a rollout has no versions to go back to: popmesh rollout abort ${name} takes its lane back, popmesh rollback lanerule gives ` +
        `its rule an earlier content, and another spec of it is applied; or ${choice}`,
    );
  }
  const instead = command === "history" ? ` or rollout; who changed anything else is told by GET /v1/audit` : "";
  throw new CommandError(`no versions are kept of "${kind}"; ${choice}${instead}`);
}

function historyText(versions: readonly Version[]): string {
  if (versions.length === 0) return "no versions are kept: it was last changed before there were any";
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
