import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

const { RecallRequest, RecallAnswer } = popmesh.v1;

/** Takes a waiting message back; answers when that is on disk. */
export function serveRecall(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  core.metrics.recalls.add();
  const { topicId, recallHandle } = decodeBody("RecallRequest", RecallRequest.decode, bytes, start, end);
  const recalled = core.port.recall(topicId, recallHandle, core.now());
  core.timer.touched();
  if (!recalled.ok) {
    connection.answerFailure(FrameKind.Recall, correlation, recalled.code, recalled.message);
    return;
  }
  const body = RecallAnswer.encode({ messageId: recalled.messageId }).finish();
  answerWhenDurable(core, connection, FrameKind.Recall, Code.Ok, correlation, recalled.position, body);
}
