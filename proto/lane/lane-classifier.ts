import { KeyCursor, type MessageScan, PropertyCursor } from "../codec/message-scan.ts";
import { FilterType, readFilterExpression } from "../filter/filter-expression.ts";
import type { SqlFilter } from "../filter/sql-filter.ts";
import { bucketCount, bucketOf, bucketsOf, laneSalt } from "./lane-bucket.ts";
import { baseLane, type LaneClause, type LaneRule } from "./lane-rule.ts";

/** A clause cannot be compiled. `field`: which part of it. */
export class LaneRuleFault extends Error {
  override readonly name = "LaneRuleFault";
  /** Index of the clause. */
  readonly clause: number;
  readonly field: "tag" | "sql";

  constructor(clause: number, field: "tag" | "sql", message: string) {
    super(message);
    this.clause = clause;
    this.field = field;
  }
}

/** No clause holds for a message. */
export const noClause = -1;

const keys = new KeyCursor();
const properties = new PropertyCursor();

/** A lane rule that messages can be held against. Nothing is allocated per message. */
export class CompiledLaneRule {
  readonly rule: LaneRule;
  /** False: the lane mark decides alone, and the message itself need not be looked at. */
  readonly looksAtMessage: boolean;
  readonly #clauses: readonly CompiledClause[];

  /** Throws `LaneRuleFault`. */
  constructor(rule: LaneRule) {
    this.rule = rule;
    this.#clauses = rule.clauses.map(compile);
    this.looksAtMessage = this.#clauses.some(looksAtMessage);
  }

  /** The lane of what `clause` holds for. */
  laneOf(clause: number): string {
    return clause === noClause ? baseLane : this.rule.clauses[clause]!.to;
  }

  /**
   * Index of the first clause that holds for a scanned message with this lane mark ("" without one); `noClause`. The scan is
   * not looked at unless `looksAtMessage`.
   */
  classify(scan: MessageScan, laneMark: string): number {
    for (let i = 0; i < this.#clauses.length; i++) {
      if (holds(this.#clauses[i]!, scan, laneMark)) return i;
    }
    return noClause;
  }
}

interface CompiledClause {
  readonly lane: string | undefined;
  /** UTF-8; undefined: any tag or none. */
  readonly tags: readonly Buffer[] | undefined;
  readonly properties: readonly { readonly name: Buffer; readonly value: Buffer }[];
  readonly sql: SqlFilter | undefined;
  readonly buckets: number;
  readonly salt: number;
}

function compile(clause: LaneClause, at: number): CompiledClause {
  const tag = clause.tag === undefined ? undefined : readFilterExpression(FilterType.Tag, clause.tag);
  if (tag?.ok === false) throw new LaneRuleFault(at, "tag", tag.message);
  const sql = clause.sql === undefined ? undefined : readFilterExpression(FilterType.Sql, clause.sql);
  if (sql?.ok === false) throw new LaneRuleFault(at, "sql", sql.message);
  return {
    lane: clause.lane,
    tags: tag === undefined || tag.tags.length === 0 ? undefined : tag.tags.map((each) => Buffer.from(each)),
    properties: Object.entries(clause.properties ?? {}).map(([name, value]) => ({
      name: Buffer.from(name),
      value: Buffer.from(value),
    })),
    sql: sql?.sql,
    buckets: bucketsOf(clause.percent ?? 100),
    salt: laneSalt(clause.to),
  };
}

function looksAtMessage({ tags, properties: wanted, sql, buckets }: CompiledClause): boolean {
  return tags !== undefined || wanted.length > 0 || sql !== undefined || buckets < bucketCount;
}

/** What costs least is asked first. */
function holds(clause: CompiledClause, scan: MessageScan, laneMark: string): boolean {
  if (clause.lane !== undefined && clause.lane !== laneMark) return false;
  if (clause.tags !== undefined && !hasTag(scan, clause.tags)) return false;
  if (clause.buckets < bucketCount && messageBucket(scan, clause.salt) >= clause.buckets) return false;
  for (const { name, value } of clause.properties) if (!hasProperty(scan, name, value)) return false;
  return clause.sql === undefined || clause.sql.matchesMessage(scan.bytes, scan.start, scan.end);
}

function hasTag({ bytes, tagStart, tagEnd }: MessageScan, tags: readonly Buffer[]): boolean {
  if (tagStart < 0) return false;
  for (const tag of tags) if (isAt(bytes, tagStart, tagEnd, tag)) return true;
  return false;
}

/** A name may come twice; the last one counts, as in every reader of protobuf maps. */
function hasProperty(scan: MessageScan, name: Buffer, value: Buffer): boolean {
  let isSame = false;
  properties.begin(scan);
  while (properties.next()) {
    if (!isAt(scan.bytes, properties.keyStart, properties.keyEnd, name)) continue;
    isSame = isAt(scan.bytes, properties.valueStart, properties.valueEnd, value);
  }
  return isSame;
}

/** By the message group, else the first key, else the id; empty ones count as absent. */
export function messageBucket(scan: MessageScan, salt: number): number {
  if (scan.messageGroupEnd > scan.messageGroupStart) {
    return bucketOf(scan.bytes, scan.messageGroupStart, scan.messageGroupEnd, salt);
  }
  keys.begin(scan);
  while (keys.next()) {
    if (keys.keyEnd > keys.keyStart) return bucketOf(scan.bytes, keys.keyStart, keys.keyEnd, salt);
  }
  return bucketOf(scan.bytes, scan.messageIdStart, scan.messageIdEnd, salt);
}

/** Byte by byte: these are short, and most differ at the first; a call of `compare` costs 0.1 us. */
function isAt(bytes: Buffer, start: number, end: number, text: Buffer): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text[i]) return false;
  return true;
}
