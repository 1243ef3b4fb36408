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

/** One type on one delta stream: subscriptions, what the client was told, what is due. Pure: sends nothing itself. */
export class DeltaType {
  readonly typeUrl: string;
  readonly #table: ResourceTable;
  readonly subscribed = new Set<string>();
  /** Everything of the type is wanted: `*`, or the legacy form. */
  wildcard = false;
  /** The client has named something, so an empty list no longer means everything. */
  named = false;
  /** An answer is owed even if there is nothing to say (first request for everything). */
  owesAnswer = false;
  inFlight: InFlight | undefined;
  readonly #due = new Map<string, Why>();
  /** Name to the version the client was last told, or `absent`. */
  readonly #told = new Map<string, string>();
  /** What was sent without subscription, so that it is not sent again for the next topic on the same broker. */
  readonly #prefetched = new Map<string, string>();
  readonly #refused = new Map<string, string>();

  constructor(typeUrl: string, table: ResourceTable) {
    this.typeUrl = typeUrl;
    this.#table = table;
  }

  get due(): ReadonlyMap<string, Why> {
    return this.#due;
  }

  markDue(name: string, why: Why): void {
    const before = this.#due.get(name);
    if (before === undefined || weight[before] < weight[why]) this.#due.set(name, why);
  }

  settle(name: string): void {
    this.#due.delete(name);
  }

  /** The client reports that it holds this version (initial_resource_versions). */
  trust(name: string, version: string): void {
    this.#told.set(name, version);
  }

  hasBeenTold(name: string): boolean {
    return this.#told.get(name) !== undefined;
  }

  /** Whether the client was given a version of it on this stream (or reported one), and not its removal since. */
  holds(name: string): boolean {
    const told = this.#told.get(name);
    return told !== undefined && told !== absent;
  }

  /** The subscription to a name ends. What the wildcard covers stays known. */
  forget(name: string): void {
    if (this.wildcard) return;
    this.#told.delete(name);
    this.#refused.delete(name);
    this.#due.delete(name);
  }

  /** The subscription to everything ends: only what is named stays known. */
  forgetUnnamed(): void {
    for (const name of [...this.#told.keys()]) {
      if (this.subscribed.has(name)) continue;
      this.#told.delete(name);
      this.#refused.delete(name);
    }
    for (const name of [...this.#due.keys()]) if (!this.subscribed.has(name)) this.#due.delete(name);
  }

  /** What to say about a name that is due. */
  decide(name: string): Outgoing {
    const why = this.#due.get(name);
    if (why === undefined) return nothing;
    const entry = this.#table.get(this.typeUrl, name);
    const told = this.#told.get(name);
    const isSubscribed = this.subscribed.has(name);
    if (entry === undefined) {
      const isNews = told === undefined ? isSubscribed : told !== absent;
      return why === "asked" || isNews ? removed : nothing;
    }
    if (why === "asked") return { kind: "resource", entry };
    if (isSubscribed || this.wildcard) return told === entry.version ? nothing : { kind: "resource", entry };
    return why === "prefetch" && this.#prefetched.get(name) !== entry.version ? { kind: "resource", entry } : nothing;
  }

  /** Whether a version of the name still has to go out. */
  isPending(name: string): boolean {
    return this.#due.has(name) && this.decide(name).kind === "resource";
  }

  /** A response leaves. `told` holds each of its names with the version, or "" for a removed one. */
  sent(nonce: string, sentMs: number, told: ReadonlyMap<string, string>): void {
    this.inFlight = { nonce, sentMs, told };
    this.owesAnswer = false;
    for (const [name, version] of told) {
      this.#due.delete(name);
      if (this.subscribed.has(name)) {
        this.#told.set(name, version);
        this.#prefetched.delete(name);
      } else if (this.wildcard && version !== absent) this.#told.set(name, version);
      else {
        this.#told.delete(name);
        if (version !== absent) this.#prefetched.set(name, version);
      }
    }
  }

  /** True when `nonce` answers the response in flight; which is then no longer in flight. */
  answered(nonce: string, refusal: string | undefined): boolean {
    if (this.inFlight?.nonce !== nonce) return false;
    for (const name of this.inFlight.told.keys()) {
      if (refusal === undefined) this.#refused.delete(name);
      else if (this.#told.has(name)) this.#refused.set(name, refusal);
    }
    this.inFlight = undefined;
    return true;
  }

  held(): HeldResource[] {
    const names = new Set([...this.subscribed, ...this.#told.keys()]);
    return [...names].map((name) => {
      const version = this.#told.get(name);
      const status =
        version === undefined
          ? "NOT_SENT"
          : this.inFlight?.told.has(name)
            ? "STALE"
            : this.#refused.has(name)
              ? "ERROR"
              : "SYNCED";
      return {
        typeUrl: this.typeUrl,
        name,
        version: version ?? absent,
        status,
        exists: this.#table.get(this.typeUrl, name) !== undefined,
        reason: this.#refused.get(name) ?? "",
      };
    });
  }
}
