import type { Clock } from "../../../proto/runtime/clock.ts";
import type { BrokerConnection } from "./broker-connection.ts";
import { ConsumerAnnouncer } from "./consumer-announcer.ts";
import { ProducerAnnouncer } from "./producer-announcer.ts";

/** Who is behind this sidecar, as the broker is told: kept here, and said on every new connection. */
export class Announcer {
  readonly producers: ProducerAnnouncer;
  readonly consumers: ConsumerAnnouncer;

  constructor(clock: Clock, lane: string) {
    this.producers = new ProducerAnnouncer(clock);
    this.consumers = new ConsumerAnnouncer(clock, lane);
  }

  connected(connection: BrokerConnection): void {
    this.producers.connected(connection);
    this.consumers.connected(connection);
  }

  disconnected(): void {
    this.producers.disconnected();
    this.consumers.disconnected();
  }
}
