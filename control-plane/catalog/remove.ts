import type { CatalogDraft } from "./catalog-draft.ts";

/** Removes a topic or a group; false when there is none. Its counters stay, so that a successor is told from it. */
export function removeResource(draft: CatalogDraft, kind: "topic" | "group", key: string): boolean {
  if (draft.get(kind, key) === undefined) return false;
  draft.delete(kind, key);
  return true;
}
