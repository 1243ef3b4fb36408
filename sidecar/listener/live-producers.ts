import type { ClientSession, CommandStream } from "./client-session.ts";

interface TopicProducers {
  readonly sessions: ClientSession[];
  turn: number;
}

/**
 * The producers that can be asked about open transactions, by topic: clients with an open Telemetry stream that declared the
 * topic in their settings or sent a half message to it. Node.js clients declare a topic that they come to later only minutes
 * afterwards, so the half message counts by itself.
 */
export class LiveProducers {
  readonly #byTopic = new Map<string, TopicProducers>();
  /** What each session is entered for. */
  readonly #entered = new Map<ClientSession, ReadonlySet<string>>();
  /** Called when a topic ("<namespace>/<topic>") gets its first producer, or loses its last. */
  onChange: (topic: string, isLive: boolean) => void = () => {};

  /** The client opened or closed its stream, declared topics, sent a half message, or is gone. */
  update(session: ClientSession, isGone = false): void {
    const before = this.#entered.get(session) ?? none;
    const after = isGone || session.stream === undefined ? none : new Set(session.produces);
    if (after.size === 0) this.#entered.delete(session);
    else this.#entered.set(session, after);
    for (const topic of before) if (!after.has(topic)) this.#leave(topic, session);
    for (const topic of after) if (!before.has(topic)) this.#enter(topic, session);
  }

  has(topic: string): boolean {
    return this.#byTopic.has(topic);
  }

  /** Stream of some live producer of the topic, each in turn; undefined when there is none that takes more now. */
  next(topic: string): CommandStream | undefined {
    const producers = this.#byTopic.get(topic);
    if (producers === undefined) return undefined;
    const { sessions } = producers;
    for (let i = 0; i < sessions.length; i++) {
      const { stream } = sessions[producers.turn++ % sessions.length]!;
      if (stream?.takesMore === true) return stream;
    }
    return undefined;
  }

  #enter(topic: string, session: ClientSession): void {
    const producers = this.#byTopic.get(topic);
    if (producers !== undefined) {
      producers.sessions.push(session);
      return;
    }
    this.#byTopic.set(topic, { sessions: [session], turn: 0 });
    this.onChange(topic, true);
  }

  #leave(topic: string, session: ClientSession): void {
    const producers = this.#byTopic.get(topic);
    if (producers === undefined) return;
    producers.sessions.splice(producers.sessions.indexOf(session), 1);
    if (producers.sessions.length > 0) return;
    this.#byTopic.delete(topic);
    this.onChange(topic, false);
  }
}

const none: ReadonlySet<string> = new Set();
