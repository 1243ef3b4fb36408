import type { AdsStream } from "./ads-stream.ts";

interface Watchers {
  readonly name: string;
  readonly streams: Set<AdsStream>;
}

interface TypeIndex {
  readonly byName: Map<string, Watchers>;
  readonly wildcard: Set<AdsStream>;
}

/** Who is interested in what: a change finds its streams without looking at the others. */
export class SubscriptionIndex {
  readonly #types = new Map<string, TypeIndex>();

  /** Returns the name as all streams should keep it: one string for all, instead of one per request that held it. */
  add(typeUrl: string, name: string, stream: AdsStream): string {
    const { byName } = this.#type(typeUrl);
    let watchers = byName.get(name);
    if (watchers === undefined) byName.set(name, (watchers = { name, streams: new Set() }));
    watchers.streams.add(stream);
    return watchers.name;
  }

  remove(typeUrl: string, name: string, stream: AdsStream): void {
    const byName = this.#types.get(typeUrl)?.byName;
    const streams = byName?.get(name)?.streams;
    if (streams === undefined) return;
    streams.delete(stream);
    if (streams.size === 0) byName?.delete(name);
  }

  addWildcard(typeUrl: string, stream: AdsStream): void {
    this.#type(typeUrl).wildcard.add(stream);
  }

  removeWildcard(typeUrl: string, stream: AdsStream): void {
    this.#types.get(typeUrl)?.wildcard.delete(stream);
  }

  /** Calls `visit` for each stream that subscribed to the name or to everything of its type; for some perhaps twice. */
  forEach(typeUrl: string, name: string, visit: (stream: AdsStream) => void): void {
    const type = this.#types.get(typeUrl);
    if (type === undefined) return;
    for (const stream of type.byName.get(name)?.streams ?? []) visit(stream);
    for (const stream of type.wildcard) visit(stream);
  }

  #type(typeUrl: string): TypeIndex {
    let type = this.#types.get(typeUrl);
    if (type === undefined) this.#types.set(typeUrl, (type = { byName: new Map(), wildcard: new Set() }));
    return type;
  }
}
