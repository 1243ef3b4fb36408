import { expressionBytesMax, FilterType } from "./filter-expression.ts";

/** Expressions kept per namespace and type: as many as RocketMQ keeps in all. */
const perNamespaceMax = 100;
/** Of all namespaces together; beyond it all is forgotten, and made again when it comes again. */
const entriesMax = 1_024;

interface NamespaceCache<T> {
  readonly tags: Map<string, T>;
  readonly sql: Map<string, T>;
}

/**
 * What was made of an expression, refusals too: clients send their filter with every poll. The expressions of one namespace do
 * not push out those of another.
 */
export class FilterCache<T> {
  readonly #make: (type: number, expression: string) => T;
  readonly #namespaces = new Map<string, NamespaceCache<T>>();
  #count = 0;

  constructor(make: (type: number, expression: string) => T) {
    this.#make = make;
  }

  get(namespace: string, type: number, expression: string): T {
    // What cannot be right is told by its length or type, and not worth keeping.
    if (expression.length > expressionBytesMax || type < 0 || type > FilterType.Sql)
      return this.#make(type, expression);
    const cache = this.#namespaces.get(namespace);
    const known = (type === FilterType.Sql ? cache?.sql : cache?.tags)?.get(expression);
    if (known !== undefined) return known;
    const made = this.#make(type, expression);
    this.#keep(namespace, type, expression, made);
    return made;
  }

  #keep(namespace: string, type: number, expression: string, made: T): void {
    if (this.#count >= entriesMax) {
      this.#namespaces.clear();
      this.#count = 0;
    }
    let cache = this.#namespaces.get(namespace);
    if (cache === undefined) {
      cache = { tags: new Map(), sql: new Map() };
      this.#namespaces.set(namespace, cache);
    }
    const entries = type === FilterType.Sql ? cache.sql : cache.tags;
    if (entries.size >= perNamespaceMax) {
      const [oldest = ""] = entries.keys();
      entries.delete(oldest);
      this.#count--;
    }
    entries.set(expression, made);
    this.#count++;
  }
}
