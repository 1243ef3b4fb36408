import { Code } from "../../proto/code.ts";
import { sendAnswerBytesMax, writeSendAnswer } from "../../proto/codec/frame-body.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import type { HeldAnswer } from "./answer-gate.ts";
import { giveBody } from "./body-pool.ts";
import type { Connection } from "./connection.ts";
import type { HandedOut } from "./handed-out.ts";
import type { ServiceCore } from "./service-core.ts";

/**
 * When answers leave (docs/frame-protocol.md, "When an answer leaves"). Each waits at a gate until the log has passed its
 * record; by then its connection may be gone.
 */

/** An answer whose records must be on disk first. */
export function answerWhenDurable(
  core: ServiceCore,
  connection: Connection,
  kind: number,
  status: Code,
  correlation: number,
  position: number,
  body: Uint8Array,
): void {
  if (core.durable.mayPass(position)) connection.answer(kind, status, correlation, body);
  else core.durable.hold(position, connection, kind, correlation).body = body;
}

/** The same with records that need only be in the page cache. */
export function answerWhenWritten(
  core: ServiceCore,
  connection: Connection,
  kind: number,
  correlation: number,
  position: number,
  body: Uint8Array,
): void {
  if (core.written.mayPass(position)) connection.answer(kind, Code.Ok, correlation, body);
  else core.written.hold(position, connection, kind, correlation).body = body;
}

/**
 * Messages leave when their hand-out is written; those that took their turn in a message group, when it is on disk. Takes
 * `body`, which is of `takeBody`, and gives it back there.
 */
export function answerHandOut(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  position: number,
  mustBeDurable: boolean,
  body: Buffer,
  bodyBytes: number,
  handedOut: HandedOut,
): void {
  const gate = mustBeDurable ? core.durable : core.written;
  if (gate.mayPass(position)) {
    connection.answer(FrameKind.Receive, Code.Ok, correlation, body.subarray(0, bodyBytes), handedOut);
    giveBody(body);
    return;
  }
  const held = gate.hold(position, connection, FrameKind.Receive, correlation);
  held.body = body.subarray(0, bodyBytes);
  held.pooledBody = body;
  held.handedOut = handedOut;
}

/** The log has passed what this answer waited for. */
export function releaseAnswer(held: HeldAnswer): void {
  const connection = held.connection!;
  if (connection.isClosed) {
    if (held.handedOut !== undefined) connection.handBack(held.handedOut);
  } else if (held.movedMessage !== "") {
    const { kind, correlation, movedMessage, requestBytes } = held;
    connection.answerFailure(kind, correlation, Code.TooManyRequests, movedMessage, requestBytes, true);
  } else if (held.kind === FrameKind.Send) {
    const { correlation, queueId, firstOffset, storeMs, transactionId, recallHandles, requestBytes } = held;
    answerSend(connection, correlation, queueId, firstOffset, storeMs, transactionId, recallHandles, requestBytes);
  } else {
    connection.answer(held.kind, Code.Ok, held.correlation, held.body!, held.handedOut);
  }
}

/** The log will never pass it. */
export function failAnswer(held: HeldAnswer, message: string): void {
  const connection = held.connection!;
  const requestBytes = held.kind === FrameKind.Send ? held.requestBytes : 0;
  if (connection.isClosed) return;
  connection.answerFailure(held.kind, held.correlation, Code.InternalServerError, message, requestBytes);
}

export function answerSend(
  connection: Connection,
  correlation: number,
  queueId: number,
  firstOffset: number,
  storeMs: number,
  transactionId: string,
  recallHandles: readonly string[],
  requestBytes: number,
): void {
  const bytesMax = sendAnswerBytesMax(transactionId, recallHandles);
  const at = connection.beginAnswer(FrameKind.Send, Code.Ok, correlation, bytesMax, requestBytes);
  const writer = connection.frames.writer;
  writer.end(writeSendAnswer(writer.bytes, at, queueId, firstOffset, storeMs, transactionId, recallHandles));
}
