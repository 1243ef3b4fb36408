import type { CatalogDraft } from "./catalog-draft.ts";
import type { NameCounter, RecordKind } from "./catalog-table.ts";

/** The next generation of a resource; `generationMin`: it is higher than that. */
export function countUp(
  draft: CatalogDraft,
  kind: RecordKind,
  key: string,
  isNew: boolean,
  generationMin = 0,
): NameCounter {
  const counterKey = `${kind}/${key}`;
  const last = draft.get("counter", counterKey) ?? { incarnation: 0, generation: 0 };
  const next = {
    incarnation: last.incarnation + (isNew ? 1 : 0),
    generation: Math.max(last.generation, generationMin) + 1,
  };
  draft.put("counter", counterKey, next);
  return next;
}
