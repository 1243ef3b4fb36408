import type { Command } from "commander";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, withOutput } from "./format.ts";
import { print } from "./output.ts";
import { printUnanswered } from "./unanswered.ts";

interface ExplainOptions extends ServerOption, OutputOption {
  readonly namespace: string;
  readonly id?: string;
  readonly topic?: string;
  readonly group?: string;
  readonly lane?: string;
  readonly tag?: string;
  readonly key: readonly string[];
  readonly messageGroup?: string;
  readonly property: readonly string[];
}

interface Explanation {
  readonly text: string;
  readonly unanswered: readonly { readonly broker: string; readonly error: string }[];
}

const several = (value: string, before: readonly string[]): string[] => [...before, value];

/** `popmesh explain --id ID`, `popmesh explain --topic TOPIC …` and `popmesh explain group NAME`. */
export function register(program: Command): void {
  withOutput(
    withServer(
      program
        .command("explain")
        .argument("[group]", 'the word "group"')
        .argument("[name]", "of the group")
        .description("why a message is whose, what would become of one, or why a lane of a group gets nothing")
        .option("--id <message>", "a message that is there: its rule, lane, hand-outs, and what it waits for")
        .option("--topic <topic>", "what would become of a message of this topic; of a group or an id: only this topic")
        .option("--group <group>", "of such a message: only this group")
        .option("--lane <lane>", "lane mark of such a message; of a group: only this lane")
        .option("--tag <tag>", "tag of such a message")
        .option("--key <key>", "key of such a message; may be given several times", several, [])
        .option("--message-group <group>", "message group of such a message")
        .option("--property <name=value>", "user property of such a message; may be given several times", several, [])
        .option("-n, --namespace <namespace>", "namespace of topic and group", defaultNamespace),
    ),
  ).action(async (what: string | undefined, name: string | undefined, options: ExplainOptions) => {
    const explained = await ask(what, name, options);
    print(formatted(options.output, explained, () => explained.text));
    printUnanswered(explained.unanswered);
  });
}

async function ask(what: string | undefined, name: string | undefined, options: ExplainOptions): Promise<Explanation> {
  const api = new ApiClient(options);
  const base = `/v1/namespaces/${encodeURIComponent(options.namespace)}/explain`;
  const { id, topic, group, lane, tag, key, messageGroup, property } = options;
  if (what !== undefined) {
    if (what !== "group" || name === undefined) throw new CommandError("write: popmesh explain group NAME");
    const query = new URLSearchParams({ ...(topic && { topic }), ...(lane && { lane }) });
    return (await api.ask("GET", `${base}/groups/${encodeURIComponent(name)}?${query}`)) as Explanation;
  }
  if (id !== undefined) return (await api.post(`${base}/message`, { id, ...(topic && { topic }) })) as Explanation;
  if (topic === undefined) {
    throw new CommandError(
      "what shall be explained? --id MESSAGE, --topic TOPIC with --property name=value, or: group NAME",
    );
  }
  return (await api.post(`${base}/would`, {
    topic,
    keys: key,
    properties: Object.fromEntries(property.map(readProperty)),
    ...(group && { group }),
    ...(lane && { lane }),
    ...(tag && { tag }),
    ...(messageGroup && { messageGroup }),
  })) as Explanation;
}

function readProperty(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at <= 0) throw new CommandError(`"${text}" is no property; write name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}
