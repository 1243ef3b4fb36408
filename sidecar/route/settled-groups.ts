import { homesOfMessageGroup } from "./message-group-placement.ts";
import type { RouteSegment, TopicRoute } from "./topic-route.ts";

/** Message groups remembered by route; with more, all are asked about again. */
const groupsMax = 20_000;

/**
 * Remembers which message groups have arrived at the home that they have by a route: their earlier homes have said that nothing is left
 * there, and by that route they never take any again. So they are not asked with every message.
 */
export class SettledGroups {
  readonly #groups = new WeakMap<TopicRoute, Set<string>>();

  /** Who has to be asked for a message group, in this order; see `homesOfMessageGroup`. */
  homes(route: TopicRoute, messageGroup: string): readonly RouteSegment[] {
    const homes = homesOfMessageGroup(route, messageGroup);
    return this.#groups.get(route)?.has(messageGroup) === true ? homes.slice(-1) : homes;
  }

  /** The last of its homes has taken a message: the others have refused it. */
  note(route: TopicRoute, messageGroup: string): void {
    let groups = this.#groups.get(route);
    if (groups === undefined) this.#groups.set(route, (groups = new Set()));
    if (groups.size >= groupsMax) groups.clear();
    groups.add(messageGroup);
  }
}
