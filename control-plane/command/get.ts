import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import type { ResourceView } from "../api/view.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print } from "./output.ts";

interface GetOptions extends ServerOption, OutputOption {
  readonly namespace: string;
}

interface Listing {
  path(namespace: string): string;
  readonly head: readonly string[];
  row(view: ResourceView): readonly unknown[];
}

const listings: Readonly<Record<string, Listing>> = {
  topics: {
    path: (namespace) => `/v1/namespaces/${encodeURIComponent(namespace)}/topics`,
    head: ["NAME", "TYPE", "QUEUES", "STATE", "BROKERS"],
    row: ({ metadata, spec, status }) => [
      metadata["name"],
      spec["type"],
      spec["queues"],
      spec["state"],
      joined(status["brokers"]),
    ],
  },
  groups: {
    path: (namespace) => `/v1/namespaces/${encodeURIComponent(namespace)}/groups`,
    head: ["NAME", "ATTEMPTS", "INFLIGHT", "BATCH", "LONG POLLING"],
    row: ({ metadata, spec }) => [
      metadata["name"],
      spec["attemptsMax"],
      spec["inflightMax"] === 0 ? "broker's limit" : spec["inflightMax"],
      spec["receiveBatchSize"],
      spec["longPolling"],
    ],
  },
  lanerules: {
    path: (namespace) => `/v1/namespaces/${encodeURIComponent(namespace)}/lanerules`,
    head: ["NAME", "TOPIC", "GROUP", "LANES", "CLAUSES", "WHEN EMPTY", "VERSION", "IN FORCE AT"],
    row: ({ metadata, spec, status }) => [
      metadata["name"],
      spec["topic"],
      spec["group"] ?? "(every group)",
      (status["lanes"] as string[]).join(","),
      (spec["rules"] as unknown[]).length,
      whenEmptyText(spec["whenEmpty"]),
      status["generation"],
      inForceText(status["brokers"], status["lanesOffAt"]),
    ],
  },
  ratelimits: {
    path: (namespace) => `/v1/namespaces/${encodeURIComponent(namespace)}/ratelimits`,
    head: ["NAME", "TOPIC", "GROUP", "CLIENT", "DIRECTION", "MESSAGES/S", "BYTES/S", "BURST", "VERSION"],
    row: ({ metadata, spec, status }) => [
      metadata["name"],
      spec["topic"] ?? "(all)",
      spec["group"] ?? "(all)",
      spec["client"] ?? "(all)",
      spec["direction"],
      spec["messagesPerSecond"] ?? "-",
      spec["bytesPerSecond"] ?? "-",
      spec["burst"],
      status["generation"],
    ],
  },
  rollouts: {
    path: (namespace) => `/v1/namespaces/${encodeURIComponent(namespace)}/rollouts`,
    head: ["NAME", "RULE", "LANE", "PHASE", "STEP", "PERCENT", "WAITS FOR"],
    row: ({ metadata, spec, status }) => [
      metadata["name"],
      spec["laneRule"],
      status["lane"],
      status["phase"],
      `${status["step"]} of ${(spec["steps"] as unknown[]).length}`,
      status["percent"],
      status["waitsFor"],
    ],
  },
  namespaces: {
    path: () => "/v1/namespaces",
    head: ["NAME", "CREATES TOPICS", "CREATES GROUPS", "TOPICS", "GROUPS", "QUEUES", "MESSAGE SIZE", "VERSION"],
    row: ({ metadata, spec, status }) => [
      metadata["name"],
      spec["autoCreateTopics"],
      spec["autoCreateGroups"],
      ...["topics", "groups", "queues"].map((what) => usedText(spec["quotas"], status["holds"], what)),
      spec["maxMessageSize"] ?? "4MiB",
      status["generation"],
    ],
  },
  brokers: {
    path: () => "/v1/brokers",
    head: ["NAME", "ADDRESS", "STATE", "DRAIN", "WRITABLE", "LANES", "TOPICS"],
    row: ({ metadata, status }) => [
      metadata["name"],
      status["address"],
      status["state"],
      status["drain"] ?? "-",
      status["writable"],
      status["lanes"],
      status["topics"],
    ],
  },
  sidecars: {
    path: () => "/v1/sidecars",
    head: ["ID", "ADDRESS", "LANE", "RESOURCES", "REJECTED"],
    row: (view) => {
      const { id, address, lane, resources, rejected } = view as unknown as Record<string, unknown>;
      return [id, address, lane, resources, rejected];
    },
  },
};

/** `popmesh get topics|groups|lanerules|ratelimits|rollouts|namespaces|brokers|sidecars`. */
export function register(program: Command): void {
  const names = Object.keys(listings).join("|");
  withOutput(
    withServer(
      program
        .command("get")
        .argument(`<${names}>`)
        .description("list what the control plane knows")
        .option(
          "-n, --namespace <namespace>",
          "namespace of topics, groups, lane rules, rate limits and rollouts",
          defaultNamespace,
        ),
    ),
  ).action(async (what: string, options: GetOptions) => {
    const listing = listings[what];
    if (listing === undefined) throw new CommandError(`there are no "${what}"; choose one of ${names}`);
    const items = await new ApiClient(options).list(listing.path(options.namespace));
    print(
      formatted(options.output, items, () =>
        items.length === 0
          ? `no ${what}`
          : tableText(
              listing.head,
              items.map((item) => listing.row(item).map(String)),
            ),
      ),
    );
  });
}

function joined(list: unknown): string {
  return Array.isArray(list) && list.length > 0 ? list.join(",") : "(none yet)";
}

/** "3 of 10", or "3" without a quota. */
function usedText(quotas: unknown, holds: unknown, what: string): string {
  const used = (holds as Record<string, number> | undefined)?.[what] ?? 0;
  const max = (quotas as Record<string, number> | undefined)?.[what];
  return max === undefined ? String(used) : `${used} of ${max}`;
}

function whenEmptyText(whenEmpty: unknown): string {
  const { action, after } = whenEmpty as { action: string; after?: string };
  return after === undefined ? action : `${action} after ${after}`;
}

function inForceText(brokers: unknown, lanesOffAt: unknown): string {
  const standings = brokers as readonly { readonly state: string }[];
  const count = standings.filter(({ state }) => state === "in force").length;
  const off = (lanesOffAt as readonly string[]).length;
  return `${count} of ${standings.length} brokers${off === 0 ? "" : `, lanes off at ${off}`}`;
}
