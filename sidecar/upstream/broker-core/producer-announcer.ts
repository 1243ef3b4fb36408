import { popmesh } from "#codec/popmesh-v1";
import { FrameKind } from "../../../proto/frame/frame.ts";
import type { Clock } from "../../../proto/runtime/clock.ts";
import type { BrokerConnection } from "./broker-connection.ts";

/** Topics in one frame: names have up to 255 bytes, so it stays below a megabyte. */
const topicsPerFrameMax = 4_000;

/**
 * Tells the broker for which topics there are live producers here: everything on a new connection, then what changes, one
 * frame per turn.
 */
export class ProducerAnnouncer {
  readonly #clock: Clock;
  readonly #live = new Set<string>();
  /** What changed in this turn, and is to be said. */
  readonly #changed = new Map<string, boolean>();
  #connection: BrokerConnection | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Said again also when nothing has changed: the broker may have asked for a producer that is gone. */
  announce(topic: string, isLive: boolean): void {
    if (isLive) this.#live.add(topic);
    else this.#live.delete(topic);
    if (this.#connection === undefined) return;
    if (this.#changed.size === 0) this.#clock.atTurnEnd(() => this.#flush());
    this.#changed.set(topic, isLive);
  }

  connected(connection: BrokerConnection): void {
    this.#connection = connection;
    this.#changed.clear();
    this.#say(connection, [...this.#live], []);
  }

  disconnected(): void {
    this.#connection = undefined;
    this.#changed.clear();
  }

  #flush(): void {
    const came: string[] = [];
    const left: string[] = [];
    for (const [topic, isLive] of this.#changed) (isLive ? came : left).push(topic);
    this.#changed.clear();
    if (this.#connection !== undefined) this.#say(this.#connection, came, left);
  }

  #say(connection: BrokerConnection, came: readonly string[], left: readonly string[]): void {
    for (let at = 0; at < Math.max(came.length, left.length); at += topicsPerFrameMax) {
      const part = { came: came.slice(at, at + topicsPerFrameMax), left: left.slice(at, at + topicsPerFrameMax) };
      connection.frames.writer.write(FrameKind.Producers, 0, 0, popmesh.v1.Producers.encode(part).finish());
    }
  }
}
