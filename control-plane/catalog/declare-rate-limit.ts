import { qualifiedName } from "../../proto/resource-name.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import { type RateLimitRecord, type RateLimitSpec, rateLimitCounts, rateLimitSpecOf } from "../resource/rate-limit.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { type Declared, declareNamespace, tooMany } from "./declare.ts";
import { actionOf, countVersion, keepVersion, type Rollback, type RolledBack, rollBack } from "./resource-versions.ts";

/** The spec is taken as a whole. Everything of a limit may change, its target too: nothing that went through depends on it. */
export function declareRateLimit(
  draft: CatalogDraft,
  said: { readonly namespace: string; readonly name: string; readonly spec: RateLimitSpec },
  namespaceDefaults: NamespaceSpec,
  rollback?: Rollback,
): Declared<RateLimitRecord> {
  const { namespace, name } = said;
  const key = qualifiedName(namespace, name);
  const spec = rateLimitSpecOf(said.spec);
  const existing = draft.get("rateLimit", key);
  if (existing !== undefined && isSame(existing, spec)) return { outcome: "unchanged", record: existing };
  const { limitsMax } = rateLimitCounts;
  if (existing === undefined) {
    if (draft.count("rateLimit") >= limitsMax) return tooMany("rate limits", limitsMax);
    declareNamespace(draft, namespace, {}, namespaceDefaults);
  }
  const numbers = countVersion(draft, "rateLimit", key, existing === undefined);
  const { nowMs, by } = draft;
  const record: RateLimitRecord = {
    namespace,
    name,
    ...spec,
    generation: numbers.generation,
    createdMs: existing?.createdMs ?? nowMs,
    createdBy: existing?.createdBy ?? by,
    changedMs: nowMs,
    changedBy: by,
  };
  draft.put("rateLimit", key, record);
  keepVersion(draft, "rateLimit", key, { ...numbers, ...actionOf(existing === undefined, rollback), spec });
  return { outcome: existing === undefined ? "created" : "configured", record };
}

/** Gives a limit the content of an earlier version; a deleted one exists again then. */
export function rollBackRateLimit(
  draft: CatalogDraft,
  namespace: string,
  name: string,
  to: number | undefined,
  namespaceDefaults: NamespaceSpec,
): RolledBack<RateLimitRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("rateLimit", key);
  const isCurrent = (spec: RateLimitSpec) => existing !== undefined && isSame(existing, spec);
  return rollBack(draft, "rateLimit", key, to, isCurrent, (spec, rollback) =>
    declareRateLimit(draft, { namespace, name, spec }, namespaceDefaults, rollback),
  );
}

/** False when there is no such limit. Its versions stay. */
export function removeRateLimit(draft: CatalogDraft, key: string): boolean {
  if (draft.get("rateLimit", key) === undefined) return false;
  const numbers = countVersion(draft, "rateLimit", key, false);
  draft.delete("rateLimit", key);
  keepVersion(draft, "rateLimit", key, { ...numbers, action: "deleted" });
  return true;
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

function isSame(a: RateLimitSpec, b: RateLimitSpec): boolean {
  return JSON.stringify(rateLimitSpecOf(a)) === JSON.stringify(rateLimitSpecOf(b));
}
