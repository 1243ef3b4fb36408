import type { Command } from "commander";
import { sleep } from "../../proto/runtime/clock.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { parseDurationMs } from "../../proto/runtime/settings.ts";
import type { ResourceView } from "../api/view.ts";
import type { DrainProgress } from "../operation/drain-keeper.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print } from "./output.ts";

interface DrainOptions extends ServerOption {
  readonly patience?: string;
  readonly wait?: boolean;
}

/** The command that runs a broker leaves --help to the process. */
const helpFlags = "-h, --help";
const lookEveryMs = 1_000;

/** `popmesh broker drain|undrain|status NAME`, beside the command that runs a broker. */
export function register(broker: Command): void {
  withServer(
    broker
      .command("drain")
      .helpOption(helpFlags)
      .argument("<name>")
      .description("let a broker finish: no new messages, its backlog is consumed, then it may be removed")
      .option(
        "--patience <duration>",
        "message groups that always have a backlog there may have new messages so long (30s)",
      )
      .option("--wait", "return when nothing is left there"),
  ).action(async (name: string, options: DrainOptions) => {
    const api = new ApiClient(options);
    const patience = options.patience === undefined ? "" : `?patienceMs=${patienceMsOf(options.patience)}`;
    let view = (await api.ask("POST", `${pathOf(name)}/drain${patience}`)) as ResourceView;
    while (options.wait === true && view.status["drain"] === "draining") {
      await sleep(new NodeClock(), lookEveryMs);
      view = await api.get(pathOf(name));
    }
    print(drainText(name, view));
  });
  withServer(
    broker
      .command("undrain")
      .helpOption(helpFlags)
      .argument("<name>")
      .description("let a broker that is drained take new messages again"),
  ).action(async (name: string, options: ServerOption) => {
    await new ApiClient(options).ask("POST", `${pathOf(name)}/undrain`);
    print(`broker "${name}" takes new messages again; message groups come back that have no messages left elsewhere`);
  });
  withServer(
    broker
      .command("status")
      .helpOption(helpFlags)
      .argument("<name>")
      .description("tell whether a broker serves, and what is left on one that is drained"),
  ).action(async (name: string, options: ServerOption) => {
    print(drainText(name, await new ApiClient(options).get(pathOf(name))));
  });
}

function patienceMsOf(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined) throw new CommandError(`--patience ${text} is no duration; write for example 30s, 5m or 0s`);
  return ms;
}

function pathOf(name: string): string {
  return `/v1/brokers/${encodeURIComponent(name)}`;
}

/** What an operator wants to know of a broker, in sentences. */
export function drainText(name: string, { status }: ResourceView): string {
  const { state, drain, topics } = status;
  const left = status["left"] as DrainProgress | undefined;
  if (drain === undefined) return `broker "${name}" is ${state} and holds ${topics} topics`;
  const lost =
    left === undefined
      ? []
      : [
          part(left.deadLetters, "dead letter"),
          part(left.unread, "message that no group reads", "messages that no group reads"),
        ];
  const goes = lost.filter((text) => text !== "");
  if (drain === "drained") {
    return [
      `broker "${name}" is drained, may be removed: stop it, then popmesh forget-broker ${name}`,
      ...(goes.length === 0
        ? []
        : [`what goes with it: ${goes.join(", ")} (popmesh dlq redrive, popmesh topic export)`]),
    ].join("\n");
  }
  if (left === undefined) return `broker "${name}" is draining; it has not said yet what is left`;
  const parts = [
    part(left.unconsumed, "message to be consumed", "messages to be consumed"),
    part(left.delayed, "message that waits for its time", "messages that wait for their time"),
    part(left.openTransactions, "open transaction"),
  ].filter((text) => text !== "");
  return [
    `broker "${name}" is draining${state === "unreachable" ? " and unreachable" : ""}; left: ${parts.join(", ") || "nothing"}`,
    ...left.behind.map(({ group, topic, messages }) => `  group ${group} in topic ${topic}: ${messages}`),
  ].join("\n");
}

function part(count: number, one: string, many = `${one}s`): string {
  return count === 0 ? "" : `${count} ${count === 1 ? one : many}`;
}
