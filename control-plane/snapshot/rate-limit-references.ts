import { qualifiedName } from "../../proto/resource-name.ts";
import type { RateLimitRecord } from "../resource/rate-limit.ts";

/** The resource through which sidecars learn of a limit. */
export interface LimitOwner {
  readonly kind: "topic" | "group" | "namespace";
  /** Key of the topic or group; name of the namespace. */
  readonly key: string;
}

const none: readonly string[] = [];

/**
 * Which resource names which limits. A limit that names a topic is the topic's; one that names a group and no topic is the
 * group's; all others are their namespace's. So a sidecar learns of those it needs from what it asks for anyway, and what has no
 * limit says nothing of limits.
 */
export class RateLimitReferences {
  readonly #byOwner = new Map<string, RateLimitRecord[]>();
  readonly #owners = new Map<string, LimitOwner>();

  /** Names of the limits of a resource, most particular first, then by name. */
  of(kind: LimitOwner["kind"], key: string): readonly string[] {
    const limits = this.#byOwner.get(ownerKey({ kind, key }));
    return limits === undefined ? none : limits.map(({ namespace, name }) => qualifiedName(namespace, name));
  }

  /** Whether a topic (for sends) or a group (for receives) has a limit of its own that holds for all clients. */
  hasOwn(kind: "topic" | "group", key: string): boolean {
    const direction = kind === "topic" ? "send" : "receive";
    const limits = this.#byOwner.get(ownerKey({ kind, key })) ?? [];
    return limits.some((limit) => limit.direction === direction && limit.client === "");
  }

  /** A limit is written (undefined: deleted). Returns the resources whose references changed. */
  set(key: string, limit: RateLimitRecord | undefined): readonly LimitOwner[] {
    const changed: LimitOwner[] = [];
    const before = this.#owners.get(key);
    if (before !== undefined) {
      const rest = (this.#byOwner.get(ownerKey(before)) ?? []).filter((other) => keyOf(other) !== key);
      if (rest.length === 0) this.#byOwner.delete(ownerKey(before));
      else this.#byOwner.set(ownerKey(before), rest);
      this.#owners.delete(key);
      changed.push(before);
    }
    if (limit === undefined) return changed;
    const owner = ownerOf(limit);
    const all = [...(this.#byOwner.get(ownerKey(owner)) ?? []), limit];
    this.#byOwner.set(ownerKey(owner), all.sort(byParticularity));
    this.#owners.set(key, owner);
    if (before === undefined || ownerKey(before) !== ownerKey(owner)) changed.push(owner);
    return changed;
  }
}

function ownerOf({ namespace, topic, group }: RateLimitRecord): LimitOwner {
  if (topic !== "") return { kind: "topic", key: qualifiedName(namespace, topic) };
  if (group !== "") return { kind: "group", key: qualifiedName(namespace, group) };
  return { kind: "namespace", key: namespace };
}

function byParticularity(a: RateLimitRecord, b: RateLimitRecord): number {
  return particularity(b) - particularity(a) || (a.name < b.name ? -1 : 1);
}

function particularity({ group, client }: RateLimitRecord): number {
  return (client === "" ? 0 : 2) + (group === "" ? 0 : 1);
}

function ownerKey({ kind, key }: LimitOwner): string {
  return `${kind} ${key}`;
}

function keyOf({ namespace, name }: RateLimitRecord): string {
  return qualifiedName(namespace, name);
}
