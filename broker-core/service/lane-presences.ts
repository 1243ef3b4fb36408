import type { Connection } from "./connection.ts";

/** Consumers of one connection; what a sidecar names beyond does not count. */
export const consumersPerConnectionMax = 1_000;

/** Somebody is there in a lane of a group, or nobody is any more. Names are "<namespace>/<name>"; they may be of nothing here. */
export interface LanePresence {
  readonly lane: string;
  readonly group: string;
  readonly topic: string;
}

interface Held extends LanePresence {
  readonly connections: Set<Connection>;
}

interface Said {
  readonly held: ReadonlySet<Held>;
  /** Monotonic time at which it ends by itself. */
  readonly endMs: number;
}

/**
 * Which lanes of which groups have live consumers behind which connections, as the sidecars say. What a sidecar said holds until it
 * says something else, its lease ends, or its connection does.
 */
export class LanePresences {
  readonly #tell: (presence: LanePresence, isThere: boolean) => void;
  readonly #byKey = new Map<string, Held>();
  readonly #saidBy = new Map<Connection, Said>();

  /**
   * `tell` is called when the last one of a lane is gone, when the first one comes, and each time its presence is said again: a lane
   * may have come into being meanwhile.
   */
  constructor(tell: (presence: LanePresence, isThere: boolean) => void) {
    this.#tell = tell;
  }

  /** Lanes of groups and topics with somebody in them. */
  get count(): number {
    return this.#byKey.size;
  }

  /** All that is there behind a connection now. */
  say(connection: Connection, all: readonly LanePresence[], endMs: number): void {
    const before = this.#saidBy.get(connection)?.held ?? none;
    const after = new Set<Held>();
    for (const presence of all.slice(0, consumersPerConnectionMax)) after.add(this.#hold(connection, presence));
    if (after.size === 0) this.#saidBy.delete(connection);
    else this.#saidBy.set(connection, { held: after, endMs });
    for (const held of before) if (!after.has(held)) this.#release(connection, held);
    for (const held of after) this.#tell(held, true);
  }

  /** The connection is gone, and whoever stood behind it. */
  forget(connection: Connection): void {
    this.say(connection, [], 0);
  }

  /** Ends what was not said again in time. */
  expire(nowMs: number): void {
    for (const [connection, { endMs }] of this.#saidBy) if (nowMs >= endMs) this.forget(connection);
  }

  #hold(connection: Connection, { lane, group, topic }: LanePresence): Held {
    const key = JSON.stringify([lane, group, topic]);
    let held = this.#byKey.get(key);
    if (held === undefined) this.#byKey.set(key, (held = { lane, group, topic, connections: new Set() }));
    held.connections.add(connection);
    return held;
  }

  #release(connection: Connection, held: Held): void {
    held.connections.delete(connection);
    if (held.connections.size > 0) return;
    this.#byKey.delete(JSON.stringify([held.lane, held.group, held.topic]));
    this.#tell(held, false);
  }
}

const none: ReadonlySet<Held> = new Set();
