import { type Clock, sleep } from "../proto/runtime/clock.ts";
import type { Log } from "../proto/runtime/log.ts";
import type { AdmissionFilter } from "./filter/admission.ts";
import type { GrpcServer } from "./listener/http2/server.ts";
import type { LaneConsumers } from "./listener/lane-consumers.ts";
import type { MessagingService } from "./listener/messaging-service.ts";

export interface DrainSubject {
  readonly clock: Clock;
  readonly log: Log;
  readonly server: GrpcServer;
  readonly admission: AdmissionFilter;
  readonly service: MessagingService;
  /** Undefined in the base lane. */
  readonly consumers: LaneConsumers | undefined;
  /** How long everything but receives is served. */
  readonly serveMs: number;
  /** When the drain is over at the latest. */
  readonly totalMs: number;
}

const lookMs = 50;
/** Without clients for this long, nobody is coming back. */
const quietMs = 500;

/**
 * Stops serving in an order that loses nothing. Inbound ends first: waiting receives are answered, what was popped and not
 * delivered goes back. Outbound goes on (sends, acks, changes), because the application may still be finishing its work, until it
 * is gone or its time is up. Then GOAWAY; an open Telemetry stream would block an orderly end for ever, so those are ended.
 */
export async function drain(subject: DrainSubject): Promise<void> {
  const { clock, log, server, admission, service } = subject;
  const startedMs = clock.monotonicMs();
  const elapsedMs = () => clock.monotonicMs() - startedMs;
  log.info({ connections: server.connectionCount, calls: server.callCount }, "draining");
  admission.drain();
  service.receive.endAll();
  // The lane may go on elsewhere at once; what is out here is still settled by its receipts.
  subject.consumers?.close();

  let quietSinceMs = startedMs;
  while (elapsedMs() < subject.serveMs) {
    if (server.connectionCount > 0) quietSinceMs = clock.monotonicMs();
    else if (clock.monotonicMs() - quietSinceMs >= quietMs) break;
    await sleep(clock, lookMs);
  }

  server.stopAccepting();
  service.telemetry.endAll();
  server.goAway();
  while (elapsedMs() < subject.totalMs && server.connectionCount > 0) await sleep(clock, lookMs);
  log.info({ ms: Math.round(elapsedMs()), connectionsCut: server.connectionCount }, "drained");
}
