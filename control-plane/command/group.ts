import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import type { GroupStatus } from "../operation/group-status.ts";
import type { FromAll } from "../operation/order-to-all.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { positionOf, wholeNumber } from "./argument.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print } from "./output.ts";
import { printUnanswered } from "./unanswered.ts";

interface CreateOptions extends ServerOption {
  readonly attemptsMax?: string;
  readonly broadcast?: boolean;
  readonly namespace: string;
}

/** `popmesh group create|delete|describe|reset|adopt`. */
export function register(program: Command): void {
  const group = program.command("group").description("create, delete, look at and reset consumer groups");
  withServer(
    group
      .command("create")
      .argument("<name>")
      .description("create a consumer group; backoff and the rest by popmesh apply")
      .option("--attempts-max <count>", "hand-outs before the dead-letter queue")
      .option("--broadcast", "every client instance gets every message")
      .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
  ).action(async (name: string, options: CreateOptions) => {
    const spec = {
      ...(options.attemptsMax === undefined ? {} : { attemptsMax: Number(options.attemptsMax) }),
      ...(options.broadcast === true ? { deliveryMode: "broadcast" } : {}),
    };
    const metadata = { namespace: options.namespace, name };
    const manifest = { apiVersion: manifestApiVersion, kind: "ConsumerGroup", metadata, spec };
    const [applied] = await new ApiClient(options).apply(stringify(manifest));
    print(applied?.outcome === "unchanged" ? `group "${name}" exists already` : `group "${name}" ${applied?.outcome}`);
  });
  withServer(
    group
      .command("delete")
      .argument("<name>")
      .description("delete a consumer group with its positions")
      .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
  ).action(async (name: string, options: ServerOption & { namespace: string }) => {
    await new ApiClient(options).delete(
      `/v1/namespaces/${encodeURIComponent(options.namespace)}/groups/${encodeURIComponent(name)}`,
    );
    print(`group "${name}" deleted`);
  });
  withOutput(
    withServer(
      group
        .command("describe")
        .argument("<name>")
        .description(
          "how far the group is: ready, blocked, in flight, delayed, dead; lag in messages and seconds; filter",
        )
        .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
    ),
  ).action(async (name: string, options: ServerOption & OutputOption & { namespace: string }) => {
    const status = (await new ApiClient(options).ask(
      "GET",
      `/v1/namespaces/${encodeURIComponent(options.namespace)}/groups/${encodeURIComponent(name)}/status`,
    )) as GroupStatus;
    print(formatted(options.output, status, () => statusText(name, status)));
    printUnanswered(status.unanswered);
  });
  withOutput(
    withServer(
      group
        .command("reset")
        .argument("<name>")
        .description("let a group go on elsewhere in its topics; --dry-run tells the counts first")
        .requiredOption(
          "--to <where>",
          "a time (2026-01-01T00:00:00Z, or 10m for ten minutes ago), earliest, latest, or an offset",
        )
        .option("--topic <topic>", "only this topic; left out: every topic the group reads")
        .option("--queue <queue>", "only this queue of the topic", wholeNumber)
        .option("--dry-run", "change nothing")
        .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
    ),
  ).action(async (name: string, options: ResetOptions) => {
    const { topic, queue, dryRun = false } = options;
    const where = { ...(topic === undefined ? {} : { topic }), ...(queue === undefined ? {} : { queue }) };
    const path = `/v1/namespaces/${encodeURIComponent(options.namespace)}/groups/${encodeURIComponent(name)}/reset`;
    const order = { to: positionOf(options.to), dryRun, ...where };
    const said = (await new ApiClient(options).post(path, order)) as FromAll<GroupReset>;
    print(formatted(options.output, said, () => resetText(name, dryRun, said)));
    printUnanswered(said.unanswered);
  });
  withServer(
    group
      .command("adopt")
      .argument("<name>")
      .description("say which group this is at a broker that has lost its name with a damaged part of its log")
      .requiredOption("--broker <broker>", "the broker that says so")
      .option(
        "--group-id <id>",
        "the number it knows the group by; left out: none of them, it begins anew",
        wholeNumber,
      )
      .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
  ).action(async (name: string, options: ServerOption & { broker: string; groupId?: number; namespace: string }) => {
    const { broker, groupId, namespace } = options;
    const path = `/v1/namespaces/${encodeURIComponent(namespace)}/groups/${encodeURIComponent(name)}/adopt`;
    await new ApiClient(options).post(`${path}?broker=${encodeURIComponent(broker)}`, { groupId });
    print(groupId === undefined ? `group "${name}" begins anew` : `group "${name}" goes on where group ${groupId} was`);
  });
}

interface ResetOptions extends ServerOption, OutputOption {
  readonly to: string;
  readonly topic?: string;
  readonly queue?: number;
  readonly dryRun?: boolean;
  readonly namespace: string;
}

/** What `group.reset` answers. */
interface GroupReset {
  readonly topics: readonly {
    readonly topic: string;
    /** Client id of the instance, of a broadcast group. */
    readonly instance: string | null;
    readonly queues: readonly { queueId: number; from: number; to: number; again: number; skipped: number }[];
  }[];
}

function resetText(name: string, dryRun: boolean, { brokers }: FromAll<GroupReset>): string {
  const isBroadcast = brokers.some(({ topics }) => topics.some(({ instance }) => instance !== null));
  const rows = brokers.flatMap(({ broker, topics }) =>
    topics.flatMap(({ topic, instance, queues }) =>
      queues.map(({ queueId, from, to, again, skipped }) => [
        ...[topic, broker, queueId, from, to, again, skipped],
        ...(isBroadcast ? [instance ?? "-"] : []),
      ]),
    ),
  );
  if (rows.length === 0) return `group "${name}" has no position there: it has not read any such topic yet`;
  const sum = (column: number): number => rows.reduce((total, row) => total + Number(row[column]), 0);
  const table = tableText(
    ["TOPIC", "BROKER", "QUEUE", "FROM", "TO", "AGAIN", "SKIPPED", ...(isBroadcast ? ["INSTANCE"] : [])],
    rows.map((row) => row.map(String)),
  );
  const [again, skipped] = [sum(5), sum(6)];
  return dryRun
    ? `${table}\n${again} messages would come again, ${skipped} would be skipped; nothing was changed`
    : `${table}\n${again} messages come again, ${skipped} are skipped`;
}

function statusText(name: string, { topics }: GroupStatus): string {
  if (topics.length === 0) return `group "${name}" has not read any topic yet`;
  const lanes = laneRows(topics);
  const table = topicTable(topics);
  if (lanes.length === 0) return table;
  return `${table}\n\n${tableText(["TOPIC", "LANE", "STATE", "READY", "IN FLIGHT", "WAITING", "HOLDERS"], lanes)}`;
}

function laneRows(topics: GroupStatus["topics"]): string[][] {
  return topics.flatMap(({ topic, lanes }) =>
    lanes.map(({ lane, state, ready, inFlight, waitingReceives, holders }) =>
      [topic, lane, state, ready, inFlight, waitingReceives, holders.join(",") || "-"].map(String),
    ),
  );
}

function topicTable(topics: GroupStatus["topics"]): string {
  const isBroadcast = topics.some(({ instance }) => instance !== null);
  return tableText(
    [
      "TOPIC",
      ...(isBroadcast ? ["INSTANCE"] : []),
      "READY",
      "BLOCKED",
      "IN FLIGHT",
      "DELAYED",
      "DEAD",
      "WAITING",
      "LAG",
      "OLDEST",
      "FILTER",
    ],
    topics.map((topic) =>
      [
        topic.topic,
        ...(isBroadcast ? [topic.instance ?? "-"] : []),
        topic.ready,
        topic.blocked,
        topic.inFlight,
        topic.delayed,
        topic.deadLetters,
        topic.waitingReceives,
        topic.lagMessages,
        `${topic.lagSeconds.toFixed(1)} s`,
        topic.filters.join("; "),
      ].map(String),
    ),
  );
}
