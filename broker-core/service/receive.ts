import { ReceiveRequestReader } from "../../proto/codec/frame-body.ts";
import { answered } from "../broker-port.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

const reader = new ReceiveRequestReader();

/** Hands messages out or parks the request; the answer comes through the receive table. */
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
  const ticket = core.receives.open(connection, correlation, reader.groupId);
  const handle = core.port.receive(
    {
      topicId: reader.topicId,
      groupId: reader.groupId,
      batch: reader.batch,
      invisibleMs: reader.invisibleMs,
      waitMs: core.isDraining ? 0 : reader.waitMs,
      filterType: reader.filterType,
      filter: reader.filter,
      clientId: reader.clientId,
      attemptId: reader.attemptId,
      lane: reader.lane,
      bytesMax: reader.bytesMax,
    },
    ticket,
    core.now(),
  );
  if (handle !== answered) core.receives.park(ticket, handle);
  core.timer.touched();
}
