import type { LaneConsumer } from "../upstream/upstream.ts";
import type { ClientSession } from "./client-session.ts";

/** One (group, topic) that somebody here consumes. */
interface Consumed extends LaneConsumer {
  /** Clients that do. */
  clients: number;
}

/**
 * Which groups consume which topics behind this sidecar, in its lane: from the first successful receive of a client (F18) until the
 * client is gone. Brokers are told, so that a lane whose consumers are busy for long counts as alive, and one whose consumers are
 * gone spills at once.
 */
export class LaneConsumers {
  /** Topic by topic of each group. */
  readonly #byGroup = new Map<string, Map<string, Consumed>>();
  readonly #ofSession = new Map<ClientSession, Set<Consumed>>();
  #isClosed = false;
  /** Called with all of them when they have changed. */
  onChange: (consumers: readonly LaneConsumer[]) => void = () => {};

  /** A broker answered a receive of a client; an empty answer is one too. Names are "<namespace>/<name>". */
  noteReceived(session: ClientSession, group: string, topic: string): void {
    // Of one that is not remembered nobody would say that it is gone.
    if (this.#isClosed || !session.isKept) return;
    const known = this.#byGroup.get(group)?.get(topic);
    let ofSession = this.#ofSession.get(session);
    if (known !== undefined && ofSession?.has(known) === true) return;
    if (ofSession === undefined) this.#ofSession.set(session, (ofSession = new Set()));
    const consumed = known ?? this.#add(group, topic);
    ofSession.add(consumed);
    if (consumed.clients++ === 0) this.#changed();
  }

  /** The client's stream ended, or it said goodbye, or was not heard of for long. */
  forget(session: ClientSession): void {
    const ofSession = this.#ofSession.get(session);
    if (ofSession === undefined) return;
    this.#ofSession.delete(session);
    let hasChanged = false;
    for (const consumed of ofSession) {
      if (--consumed.clients > 0) continue;
      hasChanged = true;
      const topics = this.#byGroup.get(consumed.group);
      topics?.delete(consumed.topic);
      if (topics?.size === 0) this.#byGroup.delete(consumed.group);
    }
    if (hasChanged) this.#changed();
  }

  /**
   * A connection of clients is gone. Those that have no stream, which would tell, are gone with it: SDKs are known that consume for minutes
   * without one after their sidecar was started again. One that only connects anew is known again with its next receive.
   */
  connectionClosed(connectionId: number): void {
    for (const session of [...this.#ofSession.keys()]) {
      if (session.stream === undefined && session.connectionId === connectionId) this.forget(session);
    }
  }

  /** This sidecar hands nothing out any more: nobody is there, and nobody comes. */
  close(): void {
    this.#isClosed = true;
    this.#ofSession.clear();
    if (this.#byGroup.size === 0) return;
    this.#byGroup.clear();
    this.#changed();
  }

  /** Tells again what is so: whoever hears it may not have been told. */
  tellAgain(): void {
    this.#changed();
  }

  #add(group: string, topic: string): Consumed {
    const consumed: Consumed = { group, topic, clients: 0 };
    const topics = this.#byGroup.get(group);
    if (topics === undefined) this.#byGroup.set(group, new Map([[topic, consumed]]));
    else topics.set(topic, consumed);
    return consumed;
  }

  #changed(): void {
    const consumers: LaneConsumer[] = [];
    for (const topics of this.#byGroup.values()) {
      for (const { group, topic } of topics.values()) consumers.push({ group, topic });
    }
    this.onChange(consumers);
  }
}
