import { popmesh } from "#codec/popmesh-v1";
import type { Connection } from "./connection.ts";
import { decodeUnanswered } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** The longest lease that is granted: a sidecar says it again far sooner. */
const leaseMsMax = 60_000;

/** A sidecar tells which consumers are there in its lane. Not answered, so one that cannot be read ends the connection. */
export function serveLanePresence(
  core: ServiceCore,
  connection: Connection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const said = decodeUnanswered(connection, "LanePresence", popmesh.v1.LanePresence.decode, bytes, start, end);
  if (said === undefined) return;
  const { lane, leaseMs, consumer } = said;
  const all = consumer.map(({ group, topic }) => ({ lane, group, topic }));
  core.presences.say(connection, all, core.clock.monotonicMs() + Math.min(leaseMs, leaseMsMax));
}
