import type { GroupPolicy, NamespacePolicy, TopicRoute } from "./topic-route.ts";

/**
 * What the control plane said about a name, as the data path needs to know it:
 *
 * - "present": serve it;
 * - "absent": it does not exist, and the control plane says so; fail at once;
 * - "refused": this sidecar may not have it, or what it got is unusable; fail at once;
 * - "unknown": not asked yet, or not answered; wait for it (on demand) or fail retryably.
 */
export type Lookup<T> = Present<T> | Refused | typeof absent | typeof unknown;

export interface Present<T> {
  readonly kind: "present";
  readonly value: T;
  /** The one thing that changes in a snapshot: set on every look-up, reset by whoever forgets what nobody uses. */
  wasUsed: boolean;
}

export interface Refused {
  readonly kind: "refused";
  readonly reason: string;
}

export const absent = { kind: "absent" } as const;
export const unknown = { kind: "unknown" } as const;

/** One immutable picture of all routes. A call reads the picture it started with. */
export interface RouteSnapshot {
  readonly topics: ReadonlyMap<string, Lookup<TopicRoute>>;
  readonly groups: ReadonlyMap<string, Lookup<GroupPolicy>>;
  readonly namespaces: ReadonlyMap<string, Lookup<NamespacePolicy>>;
}

export const emptyRouteSnapshot: RouteSnapshot = { topics: new Map(), groups: new Map(), namespaces: new Map() };

/** Holds the current snapshot. Replaced by xDS as a whole; nobody edits one in place. */
export class RouteTable {
  #snapshot: RouteSnapshot = emptyRouteSnapshot;

  get snapshot(): RouteSnapshot {
    return this.#snapshot;
  }

  replace(snapshot: RouteSnapshot): void {
    this.#snapshot = snapshot;
  }

  /** `name` is "<namespace>/<topic>". */
  topic(name: string): Lookup<TopicRoute> {
    return used(this.#snapshot.topics.get(name));
  }

  /** `name` is "<namespace>/<group>". */
  group(name: string): Lookup<GroupPolicy> {
    return used(this.#snapshot.groups.get(name));
  }

  namespace(name: string): Lookup<NamespacePolicy> {
    return used(this.#snapshot.namespaces.get(name));
  }
}

function used<T>(lookup: Lookup<T> | undefined): Lookup<T> {
  if (lookup === undefined) return unknown;
  if (lookup.kind === "present") lookup.wasUsed = true;
  return lookup;
}
