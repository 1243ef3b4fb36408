import { ReceiveRequestReader } from "../../proto/codec/frame-body.ts";
import { answered, type ReceiveCall } from "../broker-port.ts";
import type { LogPlaces } from "../commit-log/log-places.ts";
import { type ColdRead, coldBytesMax } from "./cold-lane.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

const reader = new ReceiveRequestReader();

/** Hands messages out or parks the request; the answer comes through the receive table. Old messages wait in the cold lane first. */
export function serveReceive(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  core.metrics.receives.add();
  reader.read(bytes, start, end);
  const call: ReceiveCall = {
    topicId: reader.topicId,
    groupId: reader.groupId,
    batch: reader.batch,
    invisibleMs: reader.invisibleMs,
    waitMs: reader.waitMs,
    filterType: reader.filterType,
    filter: reader.filter,
    clientId: reader.clientId,
    attemptId: reader.attemptId,
    lane: reader.lane,
    bytesMax: reader.bytesMax,
  };
  const ticket = core.receives.open(connection, correlation, reader.groupId);
  const cold = new ColdReceive(core, ticket, call);
  if (core.coldLane.takes(cold)) {
    cold.cameMs = core.clock.monotonicMs();
    core.receives.delay(ticket, cold);
  } else receiveNow(core, ticket, call, call.waitMs);
}

function receiveNow(core: ServiceCore, ticket: number, call: ReceiveCall, waitMs: number): void {
  const wait = core.isDraining ? 0 : waitMs;
  const handle = core.port.receive(wait === call.waitMs ? call : { ...call, waitMs: wait }, ticket, core.now());
  if (handle !== answered) core.receives.park(ticket, handle);
  core.timer.touched();
}

/** A receive of old messages. To its client the time in the lane is part of the wait. */
export class ColdReceive implements ColdRead {
  isGone = false;
  cameMs = 0;
  readonly #core: ServiceCore;
  readonly #ticket: number;
  readonly #call: ReceiveCall;

  constructor(core: ServiceCore, ticket: number, call: ReceiveCall) {
    this.#core = core;
    this.#ticket = ticket;
    this.#call = call;
  }

  get batch(): number {
    return Math.max(1, this.#call.batch);
  }

  places(into: LogPlaces): void {
    this.#core.port.receivePlaces(this.#call, into);
  }

  run(): void {
    const waitedMs = this.#core.clock.monotonicMs() - this.cameMs;
    this.#core.receives.delayIsOver(this.#ticket);
    const bytesMax = Math.min(this.#call.bytesMax || coldBytesMax, coldBytesMax);
    receiveNow(this.#core, this.#ticket, { ...this.#call, bytesMax }, Math.max(0, this.#call.waitMs - waitedMs));
  }
}
