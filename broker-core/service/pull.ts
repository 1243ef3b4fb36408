import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { OffsetCall, OffsetFound } from "../broker-port.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** A longer wait is cut, as of a receive. */
const waitMsMax = 120_000;

const { OffsetPolicy } = popmesh.v1;

/** Reads a queue by offset, or waits until there is something. */
export function servePull(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  // Field by field: what a decoded message leaves at its default is no property of its own.
  const { topicId, groupId, queueId, offset, batch, waitMs, filterType, filter, bytesMax } = decodeBody(
    "PullRequest",
    popmesh.v1.PullRequest.decode,
    bytes,
    start,
    end,
  );
  const call = { topicId, groupId, queueId, offset, batch, filterType, filter, bytesMax };
  core.pulls.serve(connection, correlation, call, core.isDraining ? 0 : Math.min(waitMs, waitMsMax));
}

/** Looks an offset up, or sets a group's; an update is answered when it is on disk. */
export function serveOffset(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const request = decodeBody("OffsetRequest", popmesh.v1.OffsetRequest.decode, bytes, start, end);
  const found = act(core, request);
  core.timer.touched();
  if (!found.ok) {
    connection.answerFailure(FrameKind.Offset, correlation, found.code, found.message);
    return;
  }
  const body = popmesh.v1.OffsetAnswer.encode({ offset: found.offset }).finish();
  answerWhenDurable(core, connection, FrameKind.Offset, Code.Ok, correlation, found.position, body);
}

function act(core: ServiceCore, { policy, topicId, groupId, queueId, value }: popmesh.v1.OffsetRequest): OffsetFound {
  const call = (what: OffsetCall["policy"]): OffsetCall => ({ policy: what, topicId, groupId, queueId, value });
  switch (policy) {
    case OffsetPolicy.BEGIN:
      return core.port.queryOffset(call("begin"));
    case OffsetPolicy.END:
      return core.port.queryOffset(call("end"));
    case OffsetPolicy.TIME:
      return core.port.queryOffset(call("time"));
    case OffsetPolicy.GROUP:
      return core.port.queryOffset(call("group"));
    case OffsetPolicy.SET_GROUP:
      return core.port.updateOffset(call("group"), core.now());
    default:
      throw new MeshError(Code.BadRequest, `offset policy ${policy} is unknown to this broker`);
  }
}
