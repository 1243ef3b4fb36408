import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** Makes a group known, or its newer policy, and answers its id. */
export function serveOpenGroup(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const group = decodeBody("OpenGroup", popmesh.v1.OpenGroup.decode, bytes, start, end);
  const backoff = group.backoff;
  const opened = core.port.openGroup(
    {
      name: group.name,
      generation: group.generation,
      attemptsMax: group.attemptsMax,
      inflightMax: group.inflightMax,
      backoff: {
        delaysMs: backoff?.delayMs ?? [],
        initialMs: backoff?.initialMs ?? 0,
        maxMs: backoff?.maxMs ?? 0,
        multiplier: backoff?.multiplier ?? 0,
      },
      ...(group.broadcast ? { broadcast: group.broadcast } : {}),
    },
    core.now(),
  );
  core.timer.touched();
  if (!opened.ok) {
    connection.answerFailure(FrameKind.OpenGroup, correlation, opened.code, opened.message);
    return;
  }
  const body = popmesh.v1.OpenGroupAnswer.encode({ groupId: opened.id }).finish();
  answerWhenDurable(core, connection, FrameKind.OpenGroup, Code.Ok, correlation, opened.position, body);
}
