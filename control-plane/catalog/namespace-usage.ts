import { deadLetterPrefix } from "../../proto/resource-name.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import type { ReadonlyCatalogTables } from "./catalog-table.ts";

/** What a namespace holds of what quotas count. */
export interface NamespaceUsage {
  topics: number;
  groups: number;
  queues: number;
}

/** Whether a topic counts: dead-letter topics come with their group. */
export function isCounted(topicName: string): boolean {
  return !topicName.startsWith(deadLetterPrefix);
}

/** Counts what is declared in one namespace. */
export function usageOf(reader: CatalogDraft | ReadonlyCatalogTables, namespace: string): NamespaceUsage {
  const usage = { topics: 0, groups: 0, queues: 0 };
  const prefix = `${namespace}/`;
  const isDraft = "get" in reader;
  for (const key of isDraft ? reader.keys("topic") : reader.topic.keys()) {
    if (!key.startsWith(prefix) || !isCounted(key.slice(prefix.length))) continue;
    usage.topics++;
    usage.queues += (isDraft ? reader.get("topic", key) : reader.topic.get(key))?.queues ?? 0;
  }
  for (const key of isDraft ? reader.keys("group") : reader.group.keys()) if (key.startsWith(prefix)) usage.groups++;
  return usage;
}

/** Per draft, so that a file of thousands of topics counts once. */
const usageByDraft = new WeakMap<CatalogDraft, Map<string, NamespaceUsage>>();

/**
 * Counts `more` in a namespace, unless that is over one of its quotas: then why not, in words, and nothing is counted. A namespace without quotas
 * is not counted at all.
 */
export function countIn(
  draft: CatalogDraft,
  namespace: string,
  more: NamespaceUsage,
): { readonly path: string; readonly reason: string } | undefined {
  const spec = draft.get("namespace", namespace);
  if (spec === undefined || !hasQuota(spec)) return undefined;
  let usages = usageByDraft.get(draft);
  if (usages === undefined) usageByDraft.set(draft, (usages = new Map()));
  let usage = usages.get(namespace);
  if (usage === undefined) usages.set(namespace, (usage = usageOf(draft, namespace)));
  for (const [what, max] of [
    ["topics", spec.topicsMax ?? 0],
    ["groups", spec.groupsMax ?? 0],
    ["queues", spec.queuesMax ?? 0],
  ] as const) {
    if (max === 0 || more[what] <= 0 || usage[what] + more[what] <= max) continue;
    const reason =
      `would be over the quota of namespace "${namespace}", which holds ${usage[what]} of ${max} ${what}; ` +
      `delete some, or raise spec.quotas.${what} of the namespace`;
    return { path: what === "queues" ? "spec.queues" : "metadata.name", reason };
  }
  usage.topics += more.topics;
  usage.groups += more.groups;
  usage.queues += more.queues;
  return undefined;
}

/** What of a namespace's quotas is less than it holds already. */
export function namespaceWarnings(draft: CatalogDraft, name: string): string[] {
  const spec = draft.get("namespace", name);
  if (spec === undefined || !hasQuota(spec)) return [];
  const usage = usageOf(draft, name);
  return (
    [
      ["topics", spec.topicsMax ?? 0],
      ["groups", spec.groupsMax ?? 0],
      ["queues", spec.queuesMax ?? 0],
    ] as const
  ).flatMap(([what, max]) =>
    max === 0 || usage[what] <= max
      ? []
      : [`it holds ${usage[what]} ${what} already, more than ${max}; they stay, and no more are taken`],
  );
}

function hasQuota({ topicsMax = 0, groupsMax = 0, queuesMax = 0 }: NamespaceSpec): boolean {
  return topicsMax + groupsMax + queuesMax > 0;
}
