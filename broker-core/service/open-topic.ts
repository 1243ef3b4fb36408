import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** Makes a topic known and answers its id. */
export function serveOpenTopic(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const { name, incarnation, messageTypes, queueCount } = decodeBody(
    "OpenTopic",
    popmesh.v1.OpenTopic.decode,
    bytes,
    start,
    end,
  );
  const opened = core.port.openTopic({ name, incarnation, messageTypes, queueCount }, core.now());
  core.timer.touched();
  if (!opened.ok) {
    connection.answerFailure(FrameKind.OpenTopic, correlation, opened.code, opened.message);
    return;
  }
  const body = popmesh.v1.OpenTopicAnswer.encode({ topicId: opened.id }).finish();
  answerWhenDurable(core, connection, FrameKind.OpenTopic, Code.Ok, correlation, opened.position, body);
}
