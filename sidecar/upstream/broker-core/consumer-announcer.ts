import { popmesh } from "#codec/popmesh-v1";
import { Feature, FrameKind } from "../../../proto/frame/frame.ts";
import type { Clock, Timer } from "../../../proto/runtime/clock.ts";
import type { LaneConsumer } from "../upstream.ts";
import type { BrokerConnection } from "./broker-connection.ts";

/** A broker that hears nothing for so long takes the consumers for gone, though the connection lives. */
export const presenceLeaseMs = 6_000;
/** Said again in time for two to get lost in a process that stands still. */
const renewMs = presenceLeaseMs / 3;
/** In one frame; names have up to 255 bytes, so it stays below a megabyte. */
export const consumersMax = 1_000;

/**
 * Tells the broker which consumers are there in the lane of this sidecar: all of them, when something changes (one frame per turn),
 * on a new connection, and again before the lease ends.
 */
export class ConsumerAnnouncer {
  readonly #clock: Clock;
  readonly #lane: string;
  #consumers: readonly LaneConsumer[] = [];
  #connection: BrokerConnection | undefined;
  #renewal: Timer | undefined;
  #isPlanned = false;

  constructor(clock: Clock, lane: string) {
    this.#clock = clock;
    this.#lane = lane;
  }

  announce(consumers: readonly LaneConsumer[]): void {
    this.#consumers = consumers.slice(0, consumersMax);
    if (this.#connection === undefined || this.#isPlanned) return;
    this.#isPlanned = true;
    this.#clock.atTurnEnd(() => {
      this.#isPlanned = false;
      this.#say();
    });
  }

  connected(connection: BrokerConnection): void {
    this.#connection = connection.peerFeatures.includes(Feature.LanePresence) ? connection : undefined;
    if (this.#consumers.length > 0) this.#say();
  }

  disconnected(): void {
    this.#connection = undefined;
    this.#renewal?.cancel();
    this.#renewal = undefined;
  }

  #say(): void {
    this.#renewal?.cancel();
    this.#renewal = undefined;
    if (this.#connection === undefined) return;
    const said = { lane: this.#lane, leaseMs: presenceLeaseMs, consumer: [...this.#consumers] };
    const body = popmesh.v1.LanePresence.encode(said).finish();
    this.#connection.frames.writer.write(FrameKind.LanePresence, 0, 0, body);
    if (this.#consumers.length > 0) this.#renewal = this.#clock.after(renewMs, () => this.#say());
  }
}
