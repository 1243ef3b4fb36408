import { FilterType, readFilterExpression } from "../filter/filter-expression.ts";
import { bucketsOf } from "./lane-bucket.ts";
import type { LaneClause } from "./lane-rule.ts";

/** A clause that no message ever reaches. */
export interface Shadowed {
  readonly clause: number;
  /** The earlier clause that takes everything it would. */
  readonly by: number;
}

/**
 * The clauses that never decide anything, because an earlier one holds whenever they do (L10). Told is what follows from the conditions
 * as they are written: equal lanes, tags, properties, spellings of one SQL expression. That one SQL expression implies another
 * is not seen.
 */
export function shadowedClauses(clauses: readonly LaneClause[]): Shadowed[] {
  const shadowed: Shadowed[] = [];
  for (const [i, clause] of clauses.entries()) {
    // That it takes nothing now is what its writer says: its share is to be raised.
    if (clause.percent === 0) continue;
    const by = clauses.findIndex((earlier, at) => at < i && takesAllOf(earlier, clause));
    if (by >= 0) shadowed.push({ clause: i, by });
  }
  return shadowed;
}

/** Whether `earlier` holds for every message that `later` holds for. */
function takesAllOf(earlier: LaneClause, later: LaneClause): boolean {
  if (earlier.lane !== undefined && earlier.lane !== later.lane) return false;
  if (earlier.tag !== undefined && !hasAllTags(earlier.tag, later.tag)) return false;
  for (const [name, value] of Object.entries(earlier.properties ?? {})) {
    if (later.properties?.[name] !== value) return false;
  }
  if (earlier.sql !== undefined && (later.sql === undefined || canonical(earlier.sql) !== canonical(later.sql)))
    return false;
  const share = bucketsOf(earlier.percent ?? 100);
  if (share === bucketsOf(100)) return true;
  // Shares of one lane are cut from the same buckets; those of different lanes have nothing to do with each other.
  return earlier.to === later.to && share >= bucketsOf(later.percent ?? 100);
}

function hasAllTags(expression: string, other: string | undefined): boolean {
  const tags = tagsOf(expression);
  if (tags.length === 0) return true;
  const others = other === undefined ? [] : tagsOf(other);
  return others.length > 0 && others.every((tag) => tags.includes(tag));
}

function tagsOf(expression: string): readonly string[] {
  const read = readFilterExpression(FilterType.Tag, expression);
  return read.ok ? read.tags : [expression];
}

function canonical(expression: string): string {
  const read = readFilterExpression(FilterType.Sql, expression);
  return read.ok ? read.canonical : expression;
}
