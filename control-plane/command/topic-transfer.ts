import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import type { FromAll } from "../operation/order-to-all.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { print, printError } from "./output.ts";
import { type ExportedItem, type ExportLine, ExportReader, ExportWriter } from "./topic-export.ts";

interface TransferOptions extends ServerOption {
  readonly namespace: string;
}

/** What `topic.export` answers. */
interface Page {
  readonly queueCount: number;
  readonly items: readonly ExportedItem[];
  readonly damaged: readonly number[];
  readonly next: number | null;
  readonly openTransactions?: number;
}

/** Messages of one page of an import; the broker takes 500, and a page must stay well below what the API takes. */
const importCountMax = 200;
const importBytesMax = 4 * 1024 * 1024;

/** Adds `export` and `import` to `popmesh topic`. */
export function register(topic: Command): void {
  withServer(
    topic
      .command("export")
      .argument("<name>")
      .description("write a topic with its messages into a folder, in an open format")
      .requiredOption("--to <folder>", "a new or empty folder")
      .option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace),
  ).action(async (name: string, options: TransferOptions & { to: string }) => {
    const api = new ApiClient(options);
    const path = `/v1/namespaces/${encodeURIComponent(options.namespace)}/topics/${encodeURIComponent(name)}`;
    const { spec, status } = await api.get(path);
    const writer = new ExportWriter(options.to);
    for (const broker of [...((status["brokers"] as string[] | undefined) ?? [])].sort()) {
      await exportFrom(api, path, broker, writer);
    }
    const exportedAt = new Date(new NodeClock().wallMs()).toISOString();
    const head = writer.finish({ topic: name, namespace: options.namespace, spec, exportedAt });
    const waiting = head.waiting === 0 ? "" : `, ${head.waiting} of them waiting for their time,`;
    print(`${head.messages} messages of "${name}"${waiting} exported to ${options.to}\ndigest ${head.digest}`);
  });

  withServer(
    topic
      .command("import")
      .argument("<folder>")
      .description("put an exported topic's messages into a topic, which is created if it is not there")
      .option("--topic <name>", "the topic; left out: the one that was exported")
      .option("-n, --namespace <namespace>", "namespace of the topic", defaultNamespace),
  ).action(async (folder: string, options: TransferOptions & { topic?: string }) => {
    const reader = new ExportReader(folder);
    try {
      const lines = reader.verified();
      const name = options.topic ?? reader.head.topic;
      const api = new ApiClient(options);
      const path = `/v1/namespaces/${encodeURIComponent(options.namespace)}/topics/${encodeURIComponent(name)}`;
      const brokers = await target(api, path, name, options.namespace, reader);
      let imported = 0;
      for (const [broker, share] of shares(lines, brokers)) {
        for (const page of pagesOf(share)) {
          const items = page.map((line) => ({
            ...{ queueId: line.queueId, bornHost: line.bornHost, laneMark: line.laneMark },
            message: reader.message(line),
          }));
          await api.post(`${path}/import?broker=${encodeURIComponent(broker)}`, { items });
          imported += items.length;
        }
      }
      print(`${imported} messages imported into "${name}"`);
    } finally {
      reader.close();
    }
  });
}

async function exportFrom(api: ApiClient, path: string, broker: string, writer: ExportWriter): Promise<void> {
  const at = `${path}/export?broker=${encodeURIComponent(broker)}`;
  const ask = async (queueId: number | null, from: number): Promise<Page> => {
    const [page] = ((await api.post(at, { queueId, from })) as FromAll<Page>).brokers;
    if (page === undefined) throw new CommandError(`broker "${broker}" did not answer`);
    return page;
  };
  // First what waits: what is released meanwhile is met again in its queue, and known.
  let openTransactions = 0;
  for (let from: number | null = 0; from !== null; ) {
    const page: Page = await ask(null, from);
    for (const item of page.items) writer.add(broker, item);
    for (const number of page.damaged) {
      printError(`popmesh: timed message ${number} on ${broker} is damaged and left out`);
    }
    openTransactions = page.openTransactions ?? 0;
    from = page.next;
  }
  if (openTransactions > 0) {
    printError(`popmesh: ${openTransactions} open transactions on ${broker} are left out: end them, then export`);
  }
  for (let queueId = 0, queueCount = 1; queueId < queueCount; queueId++) {
    for (let from: number | null = 0; from !== null; ) {
      const page: Page = await ask(queueId, from);
      queueCount = page.queueCount;
      for (const item of page.items) writer.add(broker, item);
      for (const offset of page.damaged) {
        printError(`popmesh: the message at offset ${offset} of queue ${queueId} on ${broker} is damaged and left out`);
      }
      from = page.next;
    }
  }
}

/** Creates the topic as it was, or looks that it has the queues it needs; returns the brokers that hold it. */
async function target(
  api: ApiClient,
  path: string,
  name: string,
  namespace: string,
  reader: ExportReader,
): Promise<string[]> {
  const { type, queues } = reader.head.spec;
  const metadata = { namespace, name };
  await api.apply(stringify({ apiVersion: manifestApiVersion, kind: "Topic", metadata, spec: { type, queues } }));
  const { spec, status } = await api.get(path);
  if (Number(spec["queues"]) < Number(queues)) {
    throw new CommandError(`topic "${name}" has ${spec["queues"]} queues, the export ${queues}; nothing was imported`);
  }
  const brokers = (status["brokers"] as string[] | undefined) ?? [];
  if (brokers.length === 0) throw new CommandError(`no broker holds topic "${name}"; nothing was imported`);
  return [...brokers].sort();
}

/** The lines by broker: each broker's own where it is still there, the others by turns, so that a queue stays in order. */
function shares(lines: readonly ExportLine[], brokers: readonly string[]): Map<string, ExportLine[]> {
  const places = new Map<string, string>();
  const byBroker = new Map<string, ExportLine[]>();
  for (const line of lines) {
    const known = brokers.includes(line.broker) ? line.broker : places.get(line.broker);
    const broker = known ?? brokers[places.size % brokers.length]!;
    places.set(line.broker, broker);
    const share = byBroker.get(broker);
    if (share === undefined) byBroker.set(broker, [line]);
    else share.push(line);
  }
  return byBroker;
}

function* pagesOf(lines: readonly ExportLine[]): Generator<ExportLine[]> {
  let page: ExportLine[] = [];
  let bytes = 0;
  for (const line of lines) {
    const lineBytes = line.body.bytes + line.envelope.length;
    if (page.length > 0 && (page.length === importCountMax || bytes + lineBytes > importBytesMax)) {
      yield page;
      page = [];
      bytes = 0;
    }
    page.push(line);
    bytes += lineBytes;
  }
  if (page.length > 0) yield page;
}
