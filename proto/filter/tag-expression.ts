import { ExpressionFault, shown } from "./expression-fault.ts";

/** Tags of one filter. */
export const tagsMax = 128;

/**
 * The tags of `a || b`, trimmed, sorted, each once; none: everything, which is what "", "*" and an expression that has `*` among
 * its tags mean. Throws `ExpressionFault`.
 */
export function parseTags(expression: string): readonly string[] {
  const trimmed = expression.trim();
  if (trimmed === "" || trimmed === "*") return [];
  const tags = [...new Set(trimmed.split("||").map((tag) => tag.trim()))].filter((tag) => tag !== "").sort();
  if (tags.length === 0) throw new ExpressionFault(0, 'it holds separators but no tag; write "a || b", or "*" for all');
  if (tags.length > tagsMax) {
    throw new ExpressionFault(0, `it names ${tags.length} tags, ${tagsMax} are allowed; use an SQL92 filter or "*"`);
  }
  for (const tag of tags) {
    for (let i = 0; i < tag.length; i++) {
      const code = tag.charCodeAt(i);
      if (code === 0x7c) {
        throw new ExpressionFault(0, `no message has the tag ${shown(tag)}, because tags hold no "|"; write "a || b"`);
      }
      if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
        throw new ExpressionFault(0, `no message has the tag ${shown(tag)}, because tags hold no control characters`);
      }
    }
  }
  return tags.includes("*") ? [] : tags;
}
