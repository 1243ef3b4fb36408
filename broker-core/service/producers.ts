import { popmesh } from "#codec/popmesh-v1";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { textBytesMax } from "../record/fixed-bytes.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** A sidecar tells of producers that came and left. Not answered, so one that cannot be read ends the connection. */
export function serveProducers(
  core: ServiceCore,
  connection: Connection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  let producers: popmesh.v1.Producers;
  try {
    producers = decodeBody("Producers", popmesh.v1.Producers.decode, bytes, start, end);
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    connection.frames.destroy(error.message);
    return;
  }
  const { came, left } = producers;
  for (const topic of left) core.producers.remove(connection, topic);
  const now = core.now();
  for (const topic of came) {
    if (topic.length <= textBytesMax && core.producers.add(connection, topic)) core.port.producersCame(topic, now);
  }
  core.timer.touched();
}
