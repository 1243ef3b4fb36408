import { qualifiedName, splitQualifiedName } from "../../proto/resource-name.ts";
import type { DefaultLimit, NamespaceRecord } from "./namespace.ts";
import type { RateLimitRecord } from "./rate-limit.ts";

/**
 * Limits that nobody declared: what a namespace says of each of its topics or groups that no RateLimit is for. Their names begin with
 * a mark that no declared one can have, so they are derived from the name alone, wherever one is asked for.
 */
const marks = { topic: "%sends%", group: "%receives%" } as const;

/** With a topic's name of 127 characters behind it and its mark, an xDS name has 255. */
export const namespaceLengthMaxWithDefaults = 120;

/** Per namespace as it is now, so that asking again gives the same record. */
const derived = new WeakMap<NamespaceRecord, Map<string, RateLimitRecord>>();

/** The default limit of a topic (on sends) or of a group (on receives); undefined where the namespace has none. */
export function defaultLimitOf(
  namespace: NamespaceRecord,
  kind: "topic" | "group",
  target: string,
): RateLimitRecord | undefined {
  const limit = kind === "topic" ? namespace.topicSends : namespace.groupReceives;
  if (limit === undefined || limit === null) return undefined;
  let records = derived.get(namespace);
  if (records === undefined) derived.set(namespace, (records = new Map()));
  const name = `${marks[kind]}${target}`;
  let record = records.get(name);
  if (record === undefined) records.set(name, (record = recordOf(namespace, kind, name, target, limit)));
  return record;
}

/** The default limit that a name stands for; undefined for every other name. */
export function defaultLimitNamed(
  qualified: string,
  namespaces: ReadonlyMap<string, NamespaceRecord>,
): RateLimitRecord | undefined {
  const parts = splitQualifiedName(qualified);
  const namespace = parts && namespaces.get(parts.namespace);
  if (parts === undefined || namespace === undefined) return undefined;
  for (const kind of ["topic", "group"] as const) {
    if (parts.name.startsWith(marks[kind]))
      return defaultLimitOf(namespace, kind, parts.name.slice(marks[kind].length));
  }
  return undefined;
}

/** Name on xDS of what `defaultLimitOf` gives. */
export function limitName({ namespace, name }: RateLimitRecord): string {
  return qualifiedName(namespace, name);
}

function recordOf(
  namespace: NamespaceRecord,
  kind: "topic" | "group",
  name: string,
  target: string,
  { messagesPerSecond, bytesPerSecond, burstMs }: DefaultLimit,
): RateLimitRecord {
  return {
    ...{ namespace: namespace.name, name, messagesPerSecond, bytesPerSecond, burstMs },
    ...(kind === "topic" ? { topic: target, group: "" } : { topic: "", group: target }),
    client: "",
    direction: kind === "topic" ? "send" : "receive",
    generation: namespace.generation,
    ...{ createdMs: 0, createdBy: "", changedMs: 0, changedBy: "" },
  };
}
