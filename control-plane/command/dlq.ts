import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultNamespace } from "../../proto/resource-name.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import type { FromAll } from "../operation/order-to-all.ts";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { momentOf, rateOf, wholeNumber } from "./argument.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print } from "./output.ts";
import { printUnanswered } from "./unanswered.ts";

interface DlqOptions extends ServerOption, OutputOption {
  readonly namespace: string;
}

interface FilterOptions extends DlqOptions {
  readonly topic?: string;
  readonly reason?: string;
  readonly since?: string;
  readonly until?: string;
  readonly id?: readonly string[];
  readonly limit: number;
}

interface RedriveOptions extends FilterOptions {
  readonly rate: string;
  readonly dryRun?: boolean;
}

/** What `dlq.list` says of one dead letter. */
interface DeadLetterItem {
  readonly offset: number;
  readonly state: string;
  readonly messageId: string;
  readonly topic: string;
  readonly reason: string;
  readonly attempts: number;
  readonly lastHolder: string;
  readonly lane: string;
  readonly deadMs: number;
}

interface Page {
  readonly next: number | null;
}

/** Messages that one call redrives at most: small enough that the rate is even. */
const redriveCountMax = 500;

/** `popmesh dlq list|show|redrive`: the dead letters of a group. */
export function register(program: Command): void {
  const dlq = program.command("dlq").description("list, show and redrive the dead letters of a group");

  withFilter(
    dlq
      .command("list")
      .argument("<group>")
      .description("what died, where, in which lane, why, when, and who had it last"),
  ).action(async (group: string, options: FilterOptions) => {
    const { limit } = options;
    const items: (DeadLetterItem & { broker: string })[] = [];
    const said = await pages<{ items: DeadLetterItem[] } & Page>(group, "list", options, (broker, page) => {
      items.push(...page.items.map((item) => ({ broker, ...item })));
      return items.length < limit;
    });
    print(formatted(options.output, items.slice(0, limit), () => listText(group, items.slice(0, limit))));
    printUnanswered(said);
  });

  withOutput(
    withServer(
      dlq
        .command("show")
        .argument("<group>")
        .argument("<message-id>")
        .description("one dead letter with its message")
        .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
    ),
  ).action(async (group: string, messageId: string, options: DlqOptions) => {
    const said = (await new ApiClient(options).post(pathOf(group, "show", options), { messageId })) as FromAll<object>;
    print(formatted(options.output, said.brokers, () => said.brokers.map((shown) => stringify(shown)).join("---\n")));
    printUnanswered(said.unanswered);
  });

  withFilter(
    dlq
      .command("redrive")
      .argument("<group>")
      .description("give dead letters back to their group, with the same ids; attempts count anew")
      .option("--rate <rate>", "how fast", "100/s")
      .option("--dry-run", "only count"),
  ).action(async (group: string, options: RedriveOptions) => {
    const { dryRun = false, limit } = options;
    const messageIds: string[] = [];
    const pace = new Pace(rateOf(options.rate));
    const said = await pages<{ messageIds: string[] } & Page>(
      group,
      "redrive",
      options,
      async (_broker, page) => {
        messageIds.push(...page.messageIds);
        if (!dryRun && page.next !== null) await pace.after(page.messageIds.length);
        return messageIds.length < limit;
      },
      () => ({ dryRun, count: Math.min(limit - messageIds.length, pace.batch) }),
    );
    print(
      formatted(options.output, { dryRun, messageIds }, () =>
        dryRun ? `${messageIds.length} dead letters would be redriven` : `${messageIds.length} dead letters redriven`,
      ),
    );
    printUnanswered(said);
  });
}

function withFilter(command: Command): Command {
  return withOutput(
    withServer(
      command
        .option("--topic <topic>", "died in this topic")
        .option("--reason <reason>", "attempts-exhausted or forwarded")
        .option("--since <time>", "died since then: 2026-01-01T00:00:00Z, or 10m")
        .option("--until <time>", "died before then")
        .option("--id <message-id...>", "these messages")
        .option("--limit <count>", "no more than so many", wholeNumber, 1_000)
        .option("-n, --namespace <namespace>", "namespace of the group", defaultNamespace),
    ),
  );
}

/**
 * Goes through the pages of every broker, one broker after the other, until `take` has enough. Returns the brokers that did not
 * answer.
 */
async function pages<P extends Page>(
  group: string,
  what: string,
  options: FilterOptions,
  take: (broker: string, page: P) => boolean | Promise<boolean>,
  more: () => object = () => ({ count: redriveCountMax }),
): Promise<FromAll<P>["unanswered"]> {
  const api = new ApiClient(options);
  const { topic, reason, since, until, id } = options;
  const filter = {
    ...(topic === undefined ? {} : { topic }),
    ...(reason === undefined ? {} : { reason }),
    ...(since === undefined ? {} : { sinceMs: momentOf(since) }),
    ...(until === undefined ? {} : { untilMs: momentOf(until) }),
    ...(id === undefined ? {} : { messageIds: id }),
  };
  const { items } = (await api.ask("GET", "/v1/brokers")) as { items: { metadata: { name: string } }[] };
  const missing: { broker: string; error: string }[] = [];
  for (const { metadata } of items) {
    try {
      for (let from: number | null = 0; from !== null; ) {
        const path = `${pathOf(group, what, options)}?broker=${encodeURIComponent(metadata.name)}`;
        const said = (await api.post(path, { ...filter, from, ...more() })) as FromAll<P>;
        const [page] = said.brokers;
        if (page === undefined || !(await take(metadata.name, page))) return missing;
        from = page.next;
      }
    } catch (error) {
      // One broker that is down does not hide what the others hold; if none can be asked, that is the answer.
      if (!(error instanceof CommandError)) throw error;
      missing.push({ broker: metadata.name, error: error.message });
      if (missing.length === items.length) throw error;
    }
  }
  return missing;
}

function pathOf(group: string, what: string, { namespace }: DlqOptions): string {
  return `/v1/namespaces/${encodeURIComponent(namespace)}/groups/${encodeURIComponent(group)}/dead-letters/${what}`;
}

function listText(group: string, items: readonly DeadLetterItem[]): string {
  if (items.length === 0) return `no dead letters of "${group}" fit`;
  return tableText(
    ["MESSAGE ID", "TOPIC", "LANE", "STATE", "REASON", "ATTEMPTS", "LAST HOLDER", "DIED AT"],
    items.map((item) =>
      [
        item.messageId,
        item.topic,
        item.lane === "" ? "base" : item.lane,
        item.state,
        item.reason,
        item.attempts,
        item.lastHolder,
        new Date(item.deadMs).toISOString(),
      ].map(String),
    ),
  );
}

/** Spreads work over time: so many per second, in batches of a tenth of a second. */
class Pace {
  readonly batch: number;
  readonly #perSecond: number;
  readonly #clock = new NodeClock();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.batch = Math.max(1, Math.min(redriveCountMax, Math.round(perSecond / 10)));
  }

  /** Resolves when `count` more have had their time. */
  after(count: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after((count * 1_000) / this.#perSecond, resolve));
  }
}
