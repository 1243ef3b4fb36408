import { defaultNamespace } from "../../proto/resource-name.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { type LaneRuleContext, removeLaneRule } from "./declare-lane-rule.ts";
import { removeRateLimit } from "./declare-rate-limit.ts";
import { removeRollout } from "./declare-rollout.ts";
import { removeResource } from "./remove.ts";
import { countVersion, keepVersion } from "./resource-versions.ts";

/** Kinds that live in a namespace, as people call them. */
const heldKinds = {
  topic: "topics",
  group: "groups",
  laneRule: "lane rules",
  rollout: "rollouts",
  rateLimit: "rate limits",
} as const;
type HeldKind = keyof typeof heldKinds;

export type NamespaceRemoval =
  /** How many of each kind went with it. */
  | { readonly outcome: "removed"; readonly held: Readonly<Record<string, number>> }
  | { readonly outcome: "absent" }
  /** It must not go; why, in words. */
  | { readonly outcome: "conflict"; readonly reason: string };

/** Removes a namespace; with what it holds only if `cascade`. Its versions stay. */
export function removeNamespace(
  draft: CatalogDraft,
  name: string,
  cascade: boolean,
  context: LaneRuleContext,
): NamespaceRemoval {
  if (draft.get("namespace", name) === undefined) return { outcome: "absent" };
  if (name === defaultNamespace) {
    return { outcome: "conflict", reason: "is that of clients that name none, and always there" };
  }
  const prefix = `${name}/`;
  const keysOf = (kind: HeldKind) => draft.keys(kind).filter((key) => key.startsWith(prefix));
  const kinds = Object.keys(heldKinds) as HeldKind[];
  const held = Object.fromEntries(kinds.map((kind) => [heldKinds[kind], keysOf(kind).length]));
  const counts = Object.entries(held).filter(([, count]) => count > 0);
  if (counts.length > 0 && !cascade) {
    const what = counts.map(([kind, count]) => `${count} ${kind}`).join(", ");
    return { outcome: "conflict", reason: `holds ${what}; delete them first, or all with it: --cascade` };
  }
  for (const key of keysOf("rollout")) removeRollout(draft, key);
  for (const key of keysOf("laneRule")) removeLaneRule(draft, key, context);
  for (const key of keysOf("rateLimit")) removeRateLimit(draft, key);
  for (const kind of ["topic", "group"] as const) for (const key of keysOf(kind)) removeResource(draft, kind, key);
  const numbers = countVersion(draft, "namespace", name, false);
  draft.delete("namespace", name);
  keepVersion(draft, "namespace", name, { ...numbers, action: "deleted" });
  return { outcome: "removed", held };
}
