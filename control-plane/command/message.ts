import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { eventText } from "../explain/event-text.ts";
import type { ExplainedEvent } from "../explain/explained.ts";
import type { FromAll } from "../operation/order-to-all.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { momentOf, wholeNumber } from "./argument.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print } from "./output.ts";
import { printUnanswered } from "./unanswered.ts";

interface MessageOptions extends ServerOption, OutputOption {
  readonly namespace: string;
  readonly topic?: string;
}

interface FindOptions extends MessageOptions {
  readonly topic: string;
  readonly key?: string;
  readonly tag?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

interface GroupState {
  readonly group: string;
  readonly state: string;
  readonly attempt?: number;
  readonly holder?: string;
  readonly leftMs?: number;
}

interface Message {
  readonly messageId: string;
  readonly tag: string | null;
  readonly keys: readonly string[];
  readonly messageGroup: string | null;
  readonly properties: Readonly<Record<string, string>>;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly bodyBytes: number;
  readonly bodyBase64: string;
}

interface Copy {
  readonly topic: string;
  readonly standing: string;
  readonly queueId: number | null;
  readonly offset: number | null;
  readonly storedMs: number;
  /** Of what a mirror made: where the message itself stands, "<topic>/<queue>/<offset>". */
  readonly mirrorOf?: string;
  readonly groups: readonly GroupState[];
  /** Null: its bytes are damaged. */
  readonly message: Message | null;
}

/** `popmesh message get|find|trace`. */
export function register(program: Command): void {
  const message = program.command("message").description("look messages up, and what happened to them");

  withTopic(
    message.command("get").argument("<message-id>").description("one message, and what each group has done with it"),
  )
    .option("--topic <topic>", "only in this topic")
    .action(async (id: string, options: MessageOptions) => {
      const said = await ask<{ items: Copy[] }>("get", options, { id });
      print(formatted(options.output, said.brokers, () => allOf(said, (broker, copy) => copyText(broker, copy))));
      printUnanswered(said.unanswered);
    });

  withTopic(message.command("trace").argument("<message-id>").description("the life of one message, step by step"))
    .option("--topic <topic>", "only in this topic")
    .action(async (id: string, options: MessageOptions) => {
      const said = await ask<{ items: (Copy & { events: ExplainedEvent[] })[] }>("trace", options, { id });
      print(
        formatted(options.output, said.brokers, () =>
          allOf(said, (broker, copy) => `${headText(broker, copy)}\n${traceText(copy)}`),
        ),
      );
      printUnanswered(said.unanswered);
    });

  withTopic(message.command("find").description("messages of a topic by key, tag and time"))
    .requiredOption("--topic <topic>", "the topic")
    .option("--key <key>", "with this key")
    .option("--tag <tag>", "with this tag")
    .option("--since <time>", "stored since then: 2026-01-01T00:00:00Z, or 10m")
    .option("--until <time>", "stored before then")
    .option("--limit <count>", "no more than so many of each broker", wholeNumber, 50)
    .action(async (options: FindOptions) => {
      const { key, tag, since, until, limit } = options;
      const said = await ask<{ items: (Copy & Message)[]; hasMore: boolean }>("find", options, {
        ...(key === undefined ? {} : { key }),
        ...(tag === undefined ? {} : { tag }),
        ...(since === undefined ? {} : { sinceMs: momentOf(since) }),
        ...(until === undefined ? {} : { untilMs: momentOf(until) }),
        count: limit,
      });
      const items = said.brokers.flatMap(({ broker, items: found }) => found.map((item) => ({ broker, ...item })));
      print(
        formatted(options.output, items, () =>
          findText(
            items,
            said.brokers.some(({ hasMore }) => hasMore),
          ),
        ),
      );
      printUnanswered(said.unanswered);
    });
}

function withTopic(command: Command): Command {
  return withOutput(
    withServer(command.option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace)),
  );
}

async function ask<R>(what: string, options: MessageOptions, parameters: object): Promise<FromAll<R>> {
  const path = `/v1/namespaces/${encodeURIComponent(options.namespace)}/messages/${what}`;
  const order = { ...parameters, ...(options.topic === undefined ? {} : { topic: options.topic }) };
  return (await new ApiClient(options).post(path, order)) as FromAll<R>;
}

function allOf<C>(said: FromAll<{ items: C[] }>, text: (broker: string, copy: C) => string): string {
  return said.brokers.flatMap(({ broker, items }) => items.map((copy) => text(broker, copy))).join("\n\n");
}

function headText(broker: string, { topic, standing, queueId, offset, message }: Copy): string {
  const where = queueId === null ? standing : `queue ${queueId}, offset ${offset}`;
  return `${message?.messageId ?? "a damaged message"} in ${topic} on ${broker}: ${where}`;
}

function copyText(broker: string, copy: Copy): string {
  const { message, groups, storedMs, mirrorOf } = copy;
  const lines = [headText(broker, copy), `  stored    ${isoTime(storedMs)}`];
  if (mirrorOf !== undefined) lines.push(`  copy of   ${mirrorOf}`);
  if (message !== null) {
    lines.push(`  from      ${message.bornHost}`);
    if (message.tag !== null) lines.push(`  tag       ${message.tag}`);
    if (message.keys.length > 0) lines.push(`  keys      ${message.keys.join(", ")}`);
    if (message.messageGroup !== null) lines.push(`  group     ${message.messageGroup}`);
    if (message.laneMark !== "") lines.push(`  lane      ${message.laneMark}`);
    for (const [name, value] of Object.entries(message.properties)) lines.push(`  property  ${name} = ${value}`);
    lines.push(`  body      ${message.bodyBytes} bytes${bodyText(message)}`);
  }
  for (const group of groups) lines.push(`  ${group.group}: ${stateText(group)}`);
  if (groups.length === 0) lines.push("  no group has read this topic yet");
  return lines.join("\n");
}

function stateText({ state, attempt, holder, leftMs }: GroupState): string {
  if (state === "in flight") {
    return `in flight at ${holder}, attempt ${attempt}, for another ${((leftMs ?? 0) / 1000).toFixed(1)} s`;
  }
  if (state === "done") return "done with it (acknowledged, or passed by the group's filter)";
  if (state === "back") return `ready to be handed out again after attempt ${attempt}`;
  if (state === "waits for its turn") return "waits for its turn: an earlier message of its message group comes first";
  return state === "dead" ? `in its dead-letter queue after attempt ${attempt}` : "not reached yet";
}

/** Of a body that is short and readable. */
function bodyText({ bodyBase64, bodyBytes }: Message): string {
  if (bodyBytes > 1_000) return "";
  const bytes = Buffer.from(bodyBase64, "base64");
  const text = bytes.toString("utf8");
  const isReadable = Buffer.from(text).equals(bytes) && [...text].every((character) => character >= " ");
  return isReadable ? `: ${text}` : "";
}

function traceText({ events }: { readonly events: readonly ExplainedEvent[] }): string {
  return tableText(
    ["TIME", "GROUP", "WHAT"],
    events.map((event) => [isoTime(event.atMs), event.group ?? "", eventText(event)]),
  );
}

function findText(items: readonly (Copy & Message & { broker: string })[], hasMore: boolean): string {
  if (items.length === 0) return "no message fits";
  const table = tableText(
    ["MESSAGE ID", "BROKER", "QUEUE", "OFFSET", "STORED", "TAG", "KEYS", "BYTES"],
    items.map((item) =>
      [
        item.messageId,
        item.broker,
        item.queueId ?? item.standing,
        item.offset ?? "",
        isoTime(item.storedMs),
        item.tag ?? "",
        item.keys.join(","),
        item.bodyBytes,
      ].map(String),
    ),
  );
  return hasMore ? `${table}\nthere are more; narrow the time or raise --limit` : table;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
