import { ExpressionFault } from "./expression-fault.ts";
import { SqlFilter } from "./sql-filter.ts";
import { parseTags } from "./tag-expression.ts";

/** Numbers of apache.rocketmq.v2.FilterType. Unspecified counts as TAG. */
export const FilterType = { Unspecified: 0, Tag: 1, Sql: 2 } as const;

/** UTF-8 bytes of one expression. */
export const expressionBytesMax = 2_048;

/** What of a topic a group wants. Neither tags nor SQL: everything. */
export interface FilterExpression {
  readonly ok: true;
  /** Equal for two expressions that mean the same by their syntax. */
  readonly canonical: string;
  readonly tags: readonly string[];
  readonly sql: SqlFilter | undefined;
}

/** To be answered with ILLEGAL_FILTER_EXPRESSION. */
export interface RefusedExpression {
  readonly ok: false;
  /** What is wrong, where, what was expected, how to mend it. */
  readonly message: string;
}

/** Reads the filter of a subscription or of a receive; the sidecar and the broker refuse the same with the same words. */
export function readFilterExpression(type: number, expression: string): FilterExpression | RefusedExpression {
  if (type !== FilterType.Unspecified && type !== FilterType.Tag && type !== FilterType.Sql) {
    return { ok: false, message: `the filter type ${type} is unknown; use TAG or SQL` };
  }
  const name = type === FilterType.Sql ? "SQL92 filter" : "tag filter";
  try {
    const bytes = Buffer.byteLength(expression);
    if (bytes > expressionBytesMax) {
      throw new ExpressionFault(0, `it has ${bytes} bytes, ${expressionBytesMax} are allowed`);
    }
    refuseBrokenText(expression);
    if (type === FilterType.Sql) {
      const sql = new SqlFilter(expression);
      return { ok: true, canonical: sql.canonical, tags: [], sql };
    }
    const tags = parseTags(expression);
    return { ok: true, canonical: tags.length === 0 ? "*" : tags.join(" || "), tags, sql: undefined };
  } catch (error) {
    if (error instanceof ExpressionFault) return { ok: false, message: `the ${name} is refused: ${error.message}` };
    throw error;
  }
}

/** Half a surrogate pair has no UTF-8 and would compare equal to other halves. */
function refuseBrokenText(text: string): void {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0xd800 || code > 0xdfff) continue;
    const following = text.charCodeAt(i + 1);
    if (code >= 0xdc00 || !(following >= 0xdc00 && following <= 0xdfff)) {
      throw new ExpressionFault(i + 1, "half of a surrogate pair, which is no character; send valid UTF-8");
    }
    i++;
  }
}
