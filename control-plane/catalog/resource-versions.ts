import type { LaneRuleSpec } from "../resource/lane-rule.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { RateLimitSpec } from "../resource/rate-limit.ts";
import { type ResourceVersion, versionKey, versionsMax } from "../resource/resource-version.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import type { ReadonlyCatalogTables, RecordByKind, RecordKind } from "./catalog-table.ts";
import type { Declared } from "./declare.ts";
import { countUp } from "./name-counter.ts";

/** What people say about a resource, of the kinds whose versions are kept. */
export interface VersionedSpec {
  readonly laneRule: LaneRuleSpec;
  readonly rateLimit: RateLimitSpec;
  readonly namespace: NamespaceSpec;
}
export type VersionedKind = keyof VersionedSpec;
export type VersionOf<K extends VersionedKind> = ResourceVersion<VersionedSpec[K]>;

/** Where the versions of a kind are kept. */
const tableOf = {
  laneRule: "laneVersion",
  rateLimit: "rateLimitVersion",
  namespace: "namespaceVersion",
} as const satisfies Record<VersionedKind, RecordKind>;

/** The versions of a resource that are kept, newest first; also of one that was deleted. */
export function versionsOf<K extends VersionedKind>(
  reader: CatalogDraft | ReadonlyCatalogTables,
  kind: K,
  key: string,
): VersionOf<K>[] {
  const versions: VersionOf<K>[] = [];
  let generation = recordOf(reader, "counter", `${kind}/${key}`)?.generation ?? 0;
  while (generation > 0) {
    const version = recordOf(reader, tableOf[kind], versionKey(key, generation)) as VersionOf<K> | undefined;
    if (version === undefined) break;
    versions.push(version);
    generation = version.previous;
  }
  return versions;
}

/** Which version a change is, and which came before it. */
export type VersionNumbers = Pick<VersionOf<VersionedKind>, "generation" | "previous">;

/**
 * Numbers the change of a resource that is about to be made; `keepVersion` with these numbers belongs to the same change.
 * `generationMin`: the number is higher than that.
 */
export function countVersion(
  draft: CatalogDraft,
  kind: VersionedKind,
  key: string,
  isNew: boolean,
  generationMin = 0,
): VersionNumbers {
  const previous = versionsOf(draft, kind, key)[0]?.generation ?? 0;
  return { generation: countUp(draft, kind, key, isNew, generationMin).generation, previous };
}

/** Keeps what became of a resource as its newest version, and lets go the oldest one that is too many. */
export function keepVersion<K extends VersionedKind>(
  draft: CatalogDraft,
  kind: K,
  key: string,
  version: Omit<VersionOf<K>, "atMs" | "by">,
): void {
  const table = tableOf[kind];
  const { nowMs: atMs, by } = draft;
  draft.put(table, versionKey(key, version.generation), { ...version, atMs, by } as RecordByKind[(typeof tableOf)[K]]);
  for (const { generation } of versionsOf(draft, kind, key).slice(versionsMax)) {
    draft.delete(table, versionKey(key, generation));
  }
}

/** What is kept with a version that takes up the content of an earlier one. */
export interface Rollback {
  readonly contentOf: number;
  /** Left out: somebody asked for it. */
  readonly reason?: string;
}

type ActionOfVersion = Pick<VersionOf<VersionedKind>, "action" | "contentOf" | "reason">;

/** How a version that gives a resource a spec came about. */
export function actionOf(isNew: boolean, rollback: Rollback | undefined): ActionOfVersion {
  if (rollback !== undefined) return { action: "rolled back", ...rollback };
  return { action: isNew ? "created" : "configured" };
}

/** What became of the wish to go back. */
export type RolledBack<R> =
  | Declared<R>
  /** There never was such a resource, or there is no such version; why, in words. */
  | { readonly outcome: "absent"; readonly reason: string };

/**
 * Gives a resource the content of an earlier version, as a new version that `write` makes; a deleted one exists again then. `to` left
 * out: the newest version with another content than now. `isCurrent` tells whether a spec is in force now.
 */
export function rollBack<K extends VersionedKind, R>(
  draft: CatalogDraft,
  kind: K,
  key: string,
  to: number | undefined,
  isCurrent: (spec: VersionedSpec[K]) => boolean,
  write: (spec: VersionedSpec[K], rollback: Rollback) => Declared<R>,
): RolledBack<R> {
  const versions = versionsOf(draft, kind, key);
  if (versions.length === 0) {
    const why =
      draft.get(kind, key) === undefined ? "there never was one" : "it was last changed before they were kept";
    return { outcome: "absent", reason: `has no versions: ${why}` };
  }
  const target =
    to === undefined
      ? versions.find(({ spec }) => spec !== undefined && !isCurrent(spec))
      : versions.find(({ generation }) => generation === to);
  if (target === undefined) {
    const kept = versions.map(({ generation }) => generation).join(", ");
    const reason =
      to === undefined ? "has no version with another content" : `has no version ${to}; those that are kept: ${kept}`;
    return { outcome: "absent", reason };
  }
  if (target.spec === undefined) {
    const reason = `was deleted with version ${target.generation}; to have that again, delete it`;
    return { outcome: "absent", reason };
  }
  return write(target.spec, { contentOf: target.generation });
}

function recordOf<K extends RecordKind>(reader: CatalogDraft | ReadonlyCatalogTables, kind: K, key: string) {
  return "get" in reader ? reader.get(kind, key) : reader[kind].get(key);
}
