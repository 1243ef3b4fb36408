import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import {
  answerBit,
  Feature,
  FrameKind,
  frameBytesMax,
  frameVersionMax,
  frameVersionMin,
} from "../../proto/frame/frame.ts";
import { laneNameProblem } from "../../proto/lane/lane-rule.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** For log lines only. */
const sidecarIdMax = 255;

/** The first frame: agrees on a version and tells the windows. Features this broker does not know are not named back. */
export function serveHello(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  if (connection.sidecarId !== undefined) {
    connection.frames.destroy("a second Hello");
    return;
  }
  const hello = decodeBody("Hello", popmesh.v1.Hello.decode, bytes, start, end);
  const version = Math.min(hello.versionMax, frameVersionMax);
  if (version < Math.max(hello.versionMin, frameVersionMin)) {
    connection.answerFailure(
      FrameKind.Hello,
      correlation,
      Code.VersionUnsupported,
      `the sidecar speaks frame versions ${hello.versionMin} to ${hello.versionMax}, this broker ${frameVersionMin} to ${frameVersionMax}; upgrade the older one`,
    );
    connection.frames.end("no common version");
    return;
  }
  connection.sidecarId = hello.sidecarId.slice(0, sidecarIdMax);
  if (laneNameProblem(hello.lane) === undefined) connection.lane = hello.lane;
  const welcome = popmesh.v1.Welcome.encode({
    version,
    brokerName: core.brokerName,
    runId: core.runId,
    requestWindow: core.windows.requests,
    receiveWindow: core.windows.receives,
    byteWindow: core.windows.requestBytes,
    frameBytesMax,
    features: [Feature.LanePresence],
  }).finish();
  connection.frames.writer.write(FrameKind.Hello | answerBit, Code.Ok, correlation, welcome);
  if (core.isDraining) connection.goAway();
}
