import { qualifiedName } from "../../proto/resource-name.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import {
  type RateLimitRecord,
  type RateLimitSpec,
  type RateLimitVersion,
  rateLimitCounts,
  rateLimitSpecOf,
  rateLimitVersionKey,
} from "../resource/rate-limit.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import type { ReadonlyCatalogTables } from "./catalog-table.ts";
import { countUp, type Declared, declareNamespace, tooMany } from "./declare.ts";

/** The spec is taken as a whole. Everything of a limit may change, its target too: nothing that went through depends on it. */
export function declareRateLimit(
  draft: CatalogDraft,
  said: { readonly namespace: string; readonly name: string; readonly spec: RateLimitSpec },
  namespaceDefaults: NamespaceSpec,
): Declared<RateLimitRecord> {
  const { namespace, name } = said;
  const key = qualifiedName(namespace, name);
  const spec = rateLimitSpecOf(said.spec);
  const existing = draft.get("rateLimit", key);
  if (existing !== undefined && JSON.stringify(rateLimitSpecOf(existing)) === JSON.stringify(spec)) {
    return { outcome: "unchanged", record: existing };
  }
  const { limitsMax } = rateLimitCounts;
  if (existing === undefined) {
    if (draft.count("rateLimit") >= limitsMax) return tooMany("rate limits", limitsMax);
    declareNamespace(draft, namespace, {}, namespaceDefaults);
  }
  const previous = rateLimitVersions(draft, key)[0]?.generation ?? 0;
  const { generation } = countUp(draft, "rateLimit", key, existing === undefined);
  const { nowMs, by } = draft;
  const record: RateLimitRecord = {
    namespace,
    name,
    ...spec,
    generation,
    createdMs: existing?.createdMs ?? nowMs,
    createdBy: existing?.createdBy ?? by,
    changedMs: nowMs,
    changedBy: by,
  };
  draft.put("rateLimit", key, record);
  const outcome = existing === undefined ? "created" : "configured";
  keepVersion(draft, key, { generation, previous, atMs: nowMs, by, action: outcome, spec });
  return { outcome, record };
}

/** False when there is no such limit. Its versions stay. */
export function removeRateLimit(draft: CatalogDraft, key: string): boolean {
  if (draft.get("rateLimit", key) === undefined) return false;
  const previous = rateLimitVersions(draft, key)[0]?.generation ?? 0;
  const { generation } = countUp(draft, "rateLimit", key, false);
  draft.delete("rateLimit", key);
  keepVersion(draft, key, { generation, previous, atMs: draft.nowMs, by: draft.by, action: "deleted" });
  return true;
}

/** The versions of a limit that are kept, newest first; also of a limit that was deleted. */
export function rateLimitVersions(reader: CatalogDraft | ReadonlyCatalogTables, key: string): RateLimitVersion[] {
  const versions: RateLimitVersion[] = [];
  const counterKey = `rateLimit/${key}`;
  const counter = "get" in reader ? reader.get("counter", counterKey) : reader.counter.get(counterKey);
  let generation = counter?.generation ?? 0;
  while (generation > 0) {
    const versionKey = rateLimitVersionKey(key, generation);
    const version =
      "get" in reader ? reader.get("rateLimitVersion", versionKey) : reader.rateLimitVersion.get(versionKey);
    if (version === undefined) break;
    versions.push(version);
    generation = version.previous;
  }
  return versions;
}

/** What of a limit that is in force may not be what was meant: names of nothing. */
export function rateLimitWarnings(draft: CatalogDraft, limit: RateLimitRecord): string[] {
  const { namespace, topic, group } = limit;
  const warnings: string[] = [];
  if (topic !== "" && draft.get("topic", qualifiedName(namespace, topic)) === undefined) {
    warnings.push(`topic "${topic}" does not exist in namespace "${namespace}"; the limit waits for it`);
  }
  if (group !== "" && draft.get("group", qualifiedName(namespace, group)) === undefined) {
    warnings.push(`group "${group}" does not exist in namespace "${namespace}"; the limit waits for it`);
  }
  return warnings;
}

function keepVersion(draft: CatalogDraft, key: string, version: RateLimitVersion): void {
  draft.put("rateLimitVersion", rateLimitVersionKey(key, version.generation), version);
  for (const { generation } of rateLimitVersions(draft, key).slice(rateLimitCounts.versionsMax)) {
    draft.delete("rateLimitVersion", rateLimitVersionKey(key, generation));
  }
}
