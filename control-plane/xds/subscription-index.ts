import type { AdsStream } from "./ads-stream.ts";

interface TypeIndex {
  readonly byName: Map<string, Set<AdsStream>>;
  readonly wildcard: Set<AdsStream>;
}

/** Who is interested in what: a change finds its streams without looking at the others. */
export class SubscriptionIndex {
  readonly #types = new Map<string, TypeIndex>();

  add(typeUrl: string, name: string, stream: AdsStream): void {
    const { byName } = this.#type(typeUrl);
    let streams = byName.get(name);
    if (streams === undefined) byName.set(name, (streams = new Set()));
    streams.add(stream);
  }

  remove(typeUrl: string, name: string, stream: AdsStream): void {
    const byName = this.#types.get(typeUrl)?.byName;
    const streams = byName?.get(name);
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
    for (const stream of type.byName.get(name) ?? []) visit(stream);
    for (const stream of type.wildcard) visit(stream);
  }

  #type(typeUrl: string): TypeIndex {
    let type = this.#types.get(typeUrl);
    if (type === undefined) this.#types.set(typeUrl, (type = { byName: new Map(), wildcard: new Set() }));
    return type;
  }
}
