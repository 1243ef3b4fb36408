import type { LimitTable } from "../limit/limit-table.ts";
import type { RateLimit } from "../limit/rate-limit.ts";
import type { TypeSubscription } from "./type-subscription.ts";

type Referring = TypeSubscription<{ readonly rateLimits: readonly string[] }>;

/**
 * Which rate limits this sidecar asks for: those that the topics, groups and namespaces it knows name. A limit that nobody names
 * any more is dropped; one that is named and not here yet holds nothing back.
 */
export class ReferencedLimits {
  readonly #subscription: TypeSubscription<RateLimit>;
  readonly #referring: readonly Referring[];
  readonly #table: LimitTable;
  #inForce: readonly RateLimit[] = [];
  /** Called with the name of each limit that is of no interest any more. */
  onDropped: (name: string) => void = () => {};

  constructor(subscription: TypeSubscription<RateLimit>, referring: readonly Referring[], table: LimitTable) {
    this.#subscription = subscription;
    this.#referring = referring;
    this.#table = table;
  }

  /** Looks through all references; puts into force what is known. True when other names are of interest than before. */
  apply(nowMs: number): boolean {
    const named = new Set<string>();
    for (const { entries } of this.#referring) {
      for (const { value } of entries.values()) for (const name of value?.rateLimits ?? []) named.add(name);
    }
    const { entries } = this.#subscription;
    if (named.size === 0 && entries.size === 0) return false;
    let hasChanged = false;
    for (const name of named) {
      if (!entries.has(name)) hasChanged = true;
      this.#subscription.want(name, nowMs);
    }
    for (const name of [...entries.keys()]) {
      if (named.has(name)) continue;
      this.#subscription.drop(name);
      this.onDropped(name);
      hasChanged = true;
    }
    const inForce = [...entries.values()].flatMap(({ value }) => value ?? []);
    const isSame = inForce.length === this.#inForce.length && inForce.every((limit, i) => limit === this.#inForce[i]);
    if (!isSame) {
      this.#inForce = inForce;
      this.#table.replace(inForce, nowMs);
    }
    return hasChanged;
  }
}
