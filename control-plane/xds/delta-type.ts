import type { ResourceEntry, ResourceTable } from "../snapshot/resource-table.ts";
import type { HeldResource } from "./ads-stream.ts";

/** Instead of a version: the client was told that there is no such resource. */
const absent = "";

/**
 * Why a name may have to be sent:
 * - "changed": its content changed; sent when it differs from what the client was told;
 * - "prefetch": something that goes out refers to it; sent when the client does not have it;
 * - "asked": it was asked for; always answered (even if the client was told before: it may have dropped it).
 */
export type Why = "changed" | "prefetch" | "asked";
const weight: Readonly<Record<Why, number>> = { changed: 0, prefetch: 1, asked: 2 };

interface InFlight {
  readonly nonce: string;
  readonly sentMs: number;
  readonly told: ReadonlyMap<string, string>;
}

export type Outgoing =
  | { readonly kind: "resource"; readonly entry: ResourceEntry }
  | { readonly kind: "removed" }
  | { readonly kind: "nothing" };

const nothing: Outgoing = Object.freeze({ kind: "nothing" });
const removed: Outgoing = Object.freeze({ kind: "removed" });
const noneDue: ReadonlyMap<string, Why> = new Map();

/**
 * One type on one delta stream: subscriptions, what the client was told, what is due. Pure: sends nothing itself. There are
 * millions of names over all streams: what a stream at rest does not need is not allocated, and names and versions are the
 * strings of the index and the table, not each stream's own.
 */
export class DeltaType {
  readonly typeUrl: string;
  readonly #table: ResourceTable;
  /** Everything of the type is wanted: `*`, or the legacy form. */
  wildcard = false;
  /** The client has named something, so an empty list no longer means everything. */
  named = false;
  /** An answer is owed even if there is nothing to say (first request for everything). */
  owesAnswer = false;
  inFlight: InFlight | undefined;
  /** Name subscribed to, and the version the client was last told, `absent`, or undefined when it was told nothing. */
  readonly #subscribed = new Map<string, string | undefined>();
  /** The same of names that only `*` covers. */
  #covered: Map<string, string> | undefined;
  #due: Map<string, Why> | undefined;
  /** What was sent without subscription, so that it is not sent again for the next topic on the same broker. */
  #prefetched: Map<string, string> | undefined;
  #refused: Map<string, string> | undefined;

  constructor(typeUrl: string, table: ResourceTable) {
    this.typeUrl = typeUrl;
    this.#table = table;
  }

  get subscribed(): IterableIterator<string> {
    return this.#subscribed.keys();
  }

  get due(): ReadonlyMap<string, Why> {
    return this.#due ?? noneDue;
  }

  isSubscribed(name: string): boolean {
    return this.#subscribed.has(name);
  }

  /** `name`: the string to keep. What the client was told of it by `*` stays known. */
  subscribe(name: string): void {
    if (this.#subscribed.has(name)) return;
    this.#subscribed.set(name, this.#covered?.get(name));
    this.#covered?.delete(name);
  }

  /** True when it was subscribed to. What `*` still covers stays known; the rest is forgotten. */
  unsubscribe(name: string): boolean {
    const told = this.#subscribed.get(name);
    if (!this.#subscribed.delete(name)) return false;
    if (!this.wildcard) {
      this.#refused?.delete(name);
      this.settle(name);
    } else if (told !== undefined && told !== absent) (this.#covered ??= new Map()).set(name, told);
    return true;
  }

  markDue(name: string, why: Why): void {
    const before = this.#due?.get(name);
    if (before === undefined || weight[before] < weight[why]) (this.#due ??= new Map()).set(name, why);
  }

  settle(name: string): void {
    if (this.#due?.delete(name) === true && this.#due.size === 0) this.#due = undefined;
  }

  /** The client reports that it holds this version (initial_resource_versions). */
  trust(name: string, version: string): void {
    if (this.#subscribed.has(name)) this.#subscribed.set(name, version);
    else (this.#covered ??= new Map()).set(name, version);
  }

  /** Whether the client was given a version of it on this stream (or reported one), and not its removal since. */
  holds(name: string): boolean {
    const told = this.#told(name);
    return told !== undefined && told !== absent;
  }

  /** The subscription to everything ends: only what is named stays known. */
  forgetUnnamed(): void {
    for (const name of this.#covered?.keys() ?? []) this.#refused?.delete(name);
    this.#covered = undefined;
    for (const name of [...this.due.keys()]) if (!this.#subscribed.has(name)) this.settle(name);
  }

  /** What to say about a name that is due. */
  decide(name: string): Outgoing {
    const why = this.#due?.get(name);
    if (why === undefined) return nothing;
    const entry = this.#table.get(this.typeUrl, name);
    const told = this.#told(name);
    const isSubscribed = this.#subscribed.has(name);
    if (entry === undefined) {
      const isNews = told === undefined ? isSubscribed : told !== absent;
      return why === "asked" || isNews ? removed : nothing;
    }
    if (why === "asked") return { kind: "resource", entry };
    if (isSubscribed || this.wildcard) return told === entry.version ? nothing : { kind: "resource", entry };
    return why === "prefetch" && this.#prefetched?.get(name) !== entry.version ? { kind: "resource", entry } : nothing;
  }

  /** Whether a version of the name still has to go out. */
  isPending(name: string): boolean {
    return this.#due?.has(name) === true && this.decide(name).kind === "resource";
  }

  /** A response leaves. `told` holds each of its names with the version, or "" for a removed one. */
  sent(nonce: string, sentMs: number, told: ReadonlyMap<string, string>): void {
    this.inFlight = { nonce, sentMs, told };
    this.owesAnswer = false;
    for (const [name, version] of told) {
      this.settle(name);
      if (this.#subscribed.has(name)) {
        this.#subscribed.set(name, version);
        if (this.#prefetched?.delete(name) === true && this.#prefetched.size === 0) this.#prefetched = undefined;
      } else if (this.wildcard && version !== absent) (this.#covered ??= new Map()).set(name, version);
      else {
        this.#covered?.delete(name);
        if (version !== absent) (this.#prefetched ??= new Map()).set(name, version);
      }
    }
  }

  /** True when `nonce` answers the response in flight; which is then no longer in flight. */
  answered(nonce: string, refusal: string | undefined): boolean {
    if (this.inFlight?.nonce !== nonce) return false;
    for (const name of this.inFlight.told.keys()) {
      if (refusal === undefined) this.#refused?.delete(name);
      else if (this.#told(name) !== undefined) (this.#refused ??= new Map()).set(name, refusal);
    }
    if (this.#refused?.size === 0) this.#refused = undefined;
    this.inFlight = undefined;
    return true;
  }

  held(): HeldResource[] {
    return [...this.#subscribed.keys(), ...(this.#covered?.keys() ?? [])].map((name) => {
      const version = this.#told(name);
      const status =
        version === undefined
          ? "NOT_SENT"
          : this.inFlight?.told.has(name)
            ? "STALE"
            : this.#refused?.has(name)
              ? "ERROR"
              : "SYNCED";
      return {
        typeUrl: this.typeUrl,
        name,
        version: version ?? absent,
        status,
        exists: this.#table.get(this.typeUrl, name) !== undefined,
        reason: this.#refused?.get(name) ?? "",
      };
    });
  }

  #told(name: string): string | undefined {
    return this.#subscribed.get(name) ?? this.#covered?.get(name);
  }
}
