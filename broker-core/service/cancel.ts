import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

/**
 * The sidecar gives a request up. Only a parked receive can be cut short; everything else is answered soon anyway, and a
 * receive that was handed messages meanwhile answers with them.
 */
export function serveCancel(core: ServiceCore, connection: Connection, correlation: number): void {
  const ticket = connection.receives.get(correlation);
  if (ticket === undefined || !core.receives.giveUp(ticket, core.port)) return;
  core.receives.close(ticket);
  core.timer.touched();
  connection.answerFailure(FrameKind.Receive, correlation, Code.MessageNotFound, "the wait was given up");
}
