import { Code } from "../../proto/code.ts";
import type { Refused } from "../broker-port.ts";
import { hashBytes } from "./text-hash.ts";

/**
 * What of a topic a group wants. The hash in the index is a quick no; a yes is decided by the real tag, read from the
 * stored message, so two tags with one hash never mix (requirement 10).
 */
export interface TagFilter {
  /** Everything passes; the lists are empty. */
  readonly isAll: boolean;
  readonly hashes: Uint32Array;
  readonly tags: readonly Buffer[];
}

const everything: TagFilter = { isAll: true, hashes: new Uint32Array(0), tags: [] };

/** FilterType of apache.rocketmq.v2. */
const filterTypeSql = 2;
const filterTypeMax = 2;

/** Filters are few and repeat with every call. Beyond this many the oldest is parsed again. */
const cachedFiltersMax = 1024;
/** A longer expression is refused: nobody writes it by hand, and each waiting call holds one. */
const expressionBytesMax = 4096;

export class TagFilters {
  readonly #byExpression = new Map<string, TagFilter>();

  /** Parses `a || b`; empty and `*` mean everything. */
  filter(type: number, expression: string): TagFilter | Refused {
    if (type === filterTypeSql) {
      return refused(Code.NotImplemented, "SQL92 filters are not supported yet; subscribe with tags");
    }
    if (type < 0 || type > filterTypeMax) {
      return refused(Code.IllegalFilterExpression, `filter type ${type} is unknown; use TAG`);
    }
    if (expression === "" || expression === "*") return everything;
    const known = this.#byExpression.get(expression);
    if (known !== undefined) return known;
    if (Buffer.byteLength(expression) > expressionBytesMax) {
      return refused(Code.IllegalFilterExpression, `the filter expression exceeds ${expressionBytesMax} bytes`);
    }
    const tags = [...new Set(expression.split("||").map((tag) => tag.trim()))].filter((tag) => tag !== "");
    if (tags.length === 0) {
      return refused(Code.IllegalFilterExpression, `"${expression}" names no tag; write "a || b", or "*" for all`);
    }
    const filter = tags.includes("*") ? everything : compile(tags);
    if (this.#byExpression.size >= cachedFiltersMax) {
      const [oldest = ""] = this.#byExpression.keys();
      this.#byExpression.delete(oldest);
    }
    this.#byExpression.set(expression, filter);
    return filter;
  }
}

function compile(tags: readonly string[]): TagFilter {
  const encoded = tags.map((tag) => Buffer.from(tag));
  const hashes = Uint32Array.from(encoded, (tag) => hashBytes(tag, 0, tag.length));
  return { isAll: false, hashes, tags: encoded };
}

/** False: certainly not. True: look at the tag itself. */
export function mayMatch(filter: TagFilter, tagHash: number): boolean {
  const { hashes } = filter;
  for (let i = 0; i < hashes.length; i++) {
    if (hashes[i] === tagHash) return true;
  }
  return filter.isAll;
}

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
