import { Code } from "../../proto/code.ts";
import { FilterCache } from "../../proto/filter/filter-cache.ts";
import { readFilterExpression } from "../../proto/filter/filter-expression.ts";
import type { SqlFilter } from "../../proto/filter/sql-filter.ts";
import type { Refused } from "../broker-port.ts";
import { hashBytes } from "../consume-queue/text-hash.ts";

/**
 * What of a topic a group wants: everything, some tags, or what an SQL92 expression is true for. Of tags, the hash in the
 * index is a quick no; a yes is decided by the real tag, read from the stored message, so two tags with one hash never mix
 * (requirement 10). SQL92 is always decided by the stored message.
 */
export interface MessageFilter {
  /** Everything passes. */
  readonly isAll: boolean;
  /** One spelling for all that mean the same: what agreement in a group goes by. */
  readonly canonical: string;
  readonly hashes: Uint32Array;
  /** UTF-8. */
  readonly tags: readonly Buffer[];
  readonly sql: SqlFilter | undefined;
}

export const everything: MessageFilter = {
  isAll: true,
  canonical: "*",
  hashes: new Uint32Array(0),
  tags: [],
  sql: undefined,
};

/** The filters of a broker, by the expressions that clients send with every receive. */
export class MessageFilters {
  readonly #cache = new FilterCache(compile);

  /** `namespace`: whose expressions are kept together. */
  filter(namespace: string, type: number, expression: string): MessageFilter | Refused {
    return this.#cache.get(namespace, type, expression);
  }
}

/** A filter as a client sent it, so that it can be written down. */
export interface SentFilter {
  readonly type: number;
  readonly expression: string;
  readonly filter: MessageFilter;
}

/** One that was written down. What this release does not understand counts as wanting everything: nothing is passed by then. */
export function sentFilter(type: number, expression: string): SentFilter {
  const filter = compile(type, expression);
  return { type, expression, filter: "ok" in filter ? everything : filter };
}

function compile(type: number, expression: string): MessageFilter | Refused {
  const read = readFilterExpression(type, expression);
  if (!read.ok) return { ok: false, code: Code.IllegalFilterExpression, message: read.message };
  const { canonical, sql } = read;
  if (sql === undefined && read.tags.length === 0) return everything;
  const tags = read.tags.map((tag) => Buffer.from(tag));
  return { isAll: false, canonical, hashes: Uint32Array.from(tags, (tag) => hashBytes(tag, 0, tag.length)), tags, sql };
}

export function isSameFilter(a: MessageFilter, b: MessageFilter): boolean {
  return a === b || (a.canonical === b.canonical && (a.sql === undefined) === (b.sql === undefined));
}

/** False: certainly not. True: look at the message itself. */
export function mayMatch(filter: MessageFilter, tagHash: number): boolean {
  const { hashes } = filter;
  for (let i = 0; i < hashes.length; i++) {
    if (hashes[i] === tagHash) return true;
  }
  return filter.isAll || filter.sql !== undefined;
}
