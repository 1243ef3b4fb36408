import { popmesh } from "#codec/popmesh-v1";
import { textBytesMax } from "../record/fixed-bytes.ts";
import type { Connection } from "./connection.ts";
import { decodeUnanswered } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** A sidecar tells of producers that came and left. Not answered, so one that cannot be read ends the connection. */
export function serveProducers(
  core: ServiceCore,
  connection: Connection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const producers = decodeUnanswered(connection, "Producers", popmesh.v1.Producers.decode, bytes, start, end);
  if (producers === undefined) return;
  const { came, left } = producers;
  for (const topic of left) core.producers.remove(connection, topic);
  const now = core.now();
  for (const topic of came) {
    if (topic.length <= textBytesMax && core.producers.add(connection, topic)) core.port.producersCame(topic, now);
  }
  core.timer.touched();
}
