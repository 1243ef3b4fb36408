import { Limiter, type LimitShare, noShare } from "./limiter.ts";
import type { RateLimit } from "./rate-limit.ts";

const none: readonly Limiter[] = [];

/** The limits of one namespace by what a call names. Each list is complete and has the most particular first. */
interface NamespaceLimits {
  /** For topics that no limit names. */
  readonly sends: readonly Limiter[];
  readonly sendsByTopic: ReadonlyMap<string, readonly Limiter[]>;
  readonly receives: readonly Limiter[];
}

/**
 * The limits in force at this sidecar. Everything that matches a call applies to it: a send must be let through by all, and the
 * least that one allows is what a receive gets. While there is no limit, asking costs one comparison.
 */
export class LimitTable {
  readonly #limiters = new Map<string, Limiter>();
  #byNamespace: ReadonlyMap<string, NamespaceLimits> = new Map();
  /** The share of a limit that is new here. */
  readonly #firstShare: LimitShare;
  isEmpty = true;
  /** Called when other limits are in force than before. */
  onReplaced: () => void = () => {};

  constructor(firstShare: LimitShare = noShare) {
    this.#firstShare = firstShare;
  }

  get limiters(): ReadonlyMap<string, Limiter> {
    return this.#limiters;
  }

  /** These are in force from now on. One that stays as it is keeps what is in its buckets; a changed one keeps its share. */
  replace(limits: readonly RateLimit[], nowMs: number): void {
    const kept = new Set(limits.map(({ name }) => name));
    for (const name of this.#limiters.keys()) if (!kept.has(name)) this.#limiters.delete(name);
    for (const limit of limits) {
      const before = this.#limiters.get(limit.name);
      if (before?.limit === limit) continue;
      this.#limiters.set(limit.name, new Limiter(limit, before?.share ?? this.#firstShare, nowMs));
    }
    this.isEmpty = limits.length === 0;
    const byNamespace = new Map<string, Limiter[]>();
    for (const limiter of this.#limiters.values()) {
      const { namespace } = limiter.limit;
      byNamespace.set(namespace, [...(byNamespace.get(namespace) ?? []), limiter]);
    }
    this.#byNamespace = new Map([...byNamespace].map(([namespace, all]) => [namespace, arranged(all)]));
    this.onReplaced();
  }

  /** What may hold back a send to a topic. Limits for certain clients are among them. */
  forSend(namespace: string, topic: string): readonly Limiter[] {
    const limits = this.#byNamespace.get(namespace);
    return limits === undefined ? none : (limits.sendsByTopic.get(topic) ?? limits.sends);
  }

  /** What holds back a receive. */
  forReceive(namespace: string, topic: string, group: string, clientId: string): readonly Limiter[] {
    if (this.isEmpty) return none;
    const receives = this.#byNamespace.get(namespace)?.receives ?? none;
    const matching = receives.filter(
      ({ limit }) => (limit.topic === "" || limit.topic === topic) && (limit.group === "" || limit.group === group),
    );
    return matching.filter((limiter) => limiter.isFor(clientId));
  }
}

function arranged(all: readonly Limiter[]): NamespaceLimits {
  const sorted = [...all].sort((a, b) => b.particularity - a.particularity || (a.limit.name < b.limit.name ? -1 : 1));
  const sends = sorted.filter(({ limit }) => limit.direction === "send");
  const general = sends.filter(({ limit }) => limit.topic === "");
  const byTopic = new Map<string, Limiter[]>();
  for (const limiter of sends) {
    const { topic } = limiter.limit;
    if (topic === "") continue;
    const own = byTopic.get(topic);
    if (own === undefined) byTopic.set(topic, [limiter]);
    else own.push(limiter);
  }
  return {
    sends: general,
    // A limit that names the topic is more particular than any that does not.
    sendsByTopic: new Map([...byTopic].map(([topic, own]) => [topic, [...own, ...general]])),
    receives: sorted.filter(({ limit }) => limit.direction === "receive"),
  };
}
