import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { LiteStart, LiteSync } from "../broker-port.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

const { LiteAction, LiteStartKind } = popmesh.v1;

const actions: Readonly<Record<number, LiteSync["action"]>> = {
  [LiteAction.ADD]: "add",
  [LiteAction.REMOVE]: "remove",
  [LiteAction.REPLACE]: "replace",
  [LiteAction.CLEAR]: "clear",
};

/** A client's lite topics; answered when the topics they need are on disk. */
export function serveLiteSync(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const request = decodeBody("LiteSyncRequest", popmesh.v1.LiteSyncRequest.decode, bytes, start, end);
  const { topicId, groupId, clientId, liteTopic } = request;
  const action = actions[request.action];
  if (action === undefined) {
    throw new MeshError(Code.BadRequest, `lite action ${request.action} is unknown to this broker`);
  }
  const call = { topicId, groupId, clientId, action, liteTopics: liteTopic, start: startOf(request) };
  const synced = core.port.syncLite(call, core.now());
  core.timer.touched();
  if (!synced.ok) {
    connection.answerFailure(FrameKind.LiteSync, correlation, synced.code, synced.message);
    return;
  }
  answerWhenDurable(core, connection, FrameKind.LiteSync, Code.Ok, correlation, synced.position, nothing);
}

const nothing = new Uint8Array(0);

function startOf({ start, startValue: value }: popmesh.v1.LiteSyncRequest): LiteStart | undefined {
  switch (start) {
    case LiteStartKind.LAST:
      return { kind: "last" };
    case LiteStartKind.MIN:
      return { kind: "min" };
    case LiteStartKind.MAX:
      return { kind: "max" };
    case LiteStartKind.AT_OFFSET:
      return { kind: "offset", value };
    case LiteStartKind.TAIL:
      return { kind: "tail", value };
    case LiteStartKind.AT_TIME:
      return { kind: "time", value };
    default:
      return undefined;
  }
}
