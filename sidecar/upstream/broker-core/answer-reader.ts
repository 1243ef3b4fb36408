import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../proto/code.ts";
import { ReceiveAnswerReader, ResultsReader, SendAnswerReader } from "../../../proto/codec/frame-body.ts";
import { FrameKind } from "../../../proto/frame/frame.ts";
import { MeshError } from "../../../proto/runtime/mesh-error.ts";
import type {
  Delivery,
  FailureReach,
  UpstreamDone,
  UpstreamFailure,
  UpstreamOffsetAnswer,
  UpstreamPullAnswer,
  UpstreamRecalled,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSendAnswer,
} from "../upstream.ts";

/** Frame bodies of answers as the values of the upstream port. Throws `MeshError` on bytes that are no such answer. */
const sendReader = new SendAnswerReader();
const receiveReader = new ReceiveAnswerReader();
const resultsReader = new ResultsReader();

const done: UpstreamDone = { ok: true };
export const nothingReceived: UpstreamReceiveAnswer = { ok: true, deliveries: [] };

/** What the callback of a call takes; its kind decides which of them. */
export type AnyAnswer = UpstreamSendAnswer &
  UpstreamReceiveAnswer &
  UpstreamResults &
  UpstreamDone &
  UpstreamPullAnswer &
  UpstreamOffsetAnswer &
  UpstreamRecalled;

/** The answer to a call of `kind`. */
export function readAnswer(kind: number, status: number, bytes: Buffer, start: number, end: number): AnyAnswer {
  return readByKind(kind, status, bytes, start, end) as AnyAnswer;
}

function readByKind(
  kind: number,
  status: number,
  bytes: Buffer,
  start: number,
  end: number,
):
  | UpstreamSendAnswer
  | UpstreamReceiveAnswer
  | UpstreamResults
  | UpstreamDone
  | UpstreamPullAnswer
  | UpstreamOffsetAnswer
  | UpstreamRecalled {
  // A wait that was given up is answered so; for the caller it is an empty answer.
  if (status === Code.MessageNotFound && kind === FrameKind.Receive) return nothingReceived;
  if (status !== Code.Ok) return readFailure(status, bytes, start, end);
  if (kind === FrameKind.Send) return readSendAnswer(bytes, start, end);
  if (kind === FrameKind.EndTransaction || kind === FrameKind.LiteSync) return done;
  if (kind === FrameKind.Receive) return readReceiveAnswer(bytes, start, end);
  if (kind === FrameKind.Recall) {
    return { ok: true, messageId: decodeRare(popmesh.v1.RecallAnswer.decode, bytes.subarray(start, end)).messageId };
  }
  if (kind === FrameKind.Pull) return readPullAnswer(bytes.subarray(start, end));
  if (kind === FrameKind.Offset) {
    return { ok: true, offset: decodeRare(popmesh.v1.OffsetAnswer.decode, bytes.subarray(start, end)).offset };
  }
  return readResults(bytes, start, end);
}

function readPullAnswer(body: Uint8Array): UpstreamPullAnswer {
  const { delivery, nextOffset } = decodeRare(popmesh.v1.PullAnswer.decode, body);
  const deliveries = delivery.map(
    ({ message, queueId, offset, attempt, storeMs, bornHost, lane, mirrorOf, deadLetter }) => ({
      ...{ queueId, offset, attempt, storeMs, bornHost, lane, mirrorOf },
      // The decoder gives views of the frame.
      message: Buffer.from(message),
      receipt: "",
      deadLetter: deadLetter === null ? undefined : { topic: deadLetter.topic, messageId: deadLetter.messageId },
    }),
  );
  return { ok: true, deliveries, nextOffset };
}

function readSendAnswer(bytes: Buffer, start: number, end: number): UpstreamSendAnswer {
  sendReader.read(bytes, start, end);
  const { queueId, firstOffset, storeMs, transactionId, recallHandles } = sendReader;
  return { ok: true, queueId, firstOffset, storeMs, transactionId, recallHandles };
}

/** The messages are copied out of the frame, once for all of them. */
function readReceiveAnswer(bytes: Buffer, start: number, end: number): UpstreamReceiveAnswer {
  if (start === end) return nothingReceived;
  const own = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(own, 0, start, end);
  const reader = receiveReader;
  reader.read(own, 0, own.length);
  const deliveries: Delivery[] = [];
  while (reader.nextDelivery()) {
    deliveries.push({
      message: own.subarray(reader.messageStart, reader.messageEnd),
      receipt: own.toString("latin1", reader.receiptStart, reader.receiptEnd),
      queueId: reader.queueId,
      offset: reader.offset,
      attempt: reader.attempt,
      storeMs: reader.storeMs,
      bornHost: reader.bornHost,
      lane: reader.lane,
      mirrorOf: reader.mirrorOf,
      deadLetter: reader.hasDeadLetter ? { topic: reader.origin.topic, messageId: reader.origin.messageId } : undefined,
    });
  }
  return { ok: true, deliveries };
}

function readResults(bytes: Buffer, start: number, end: number): UpstreamResults {
  const reader = resultsReader;
  reader.read(bytes, start, end);
  const results: { code: Code; message: string; receipt: string }[] = [];
  while (reader.nextResult()) {
    results.push({
      // A code of a newer API is passed through as the number it is.
      code: reader.code as Code,
      message: reader.message,
      receipt: bytes.toString("latin1", reader.receiptStart, reader.receiptEnd),
    });
  }
  return { ok: true, results };
}

export function readFailure(status: number, bytes: Buffer, start: number, end: number): UpstreamFailure {
  const { message, moved } = decodeRare(popmesh.v1.Failure.decode, bytes.subarray(start, end));
  return failure(status as Code, message, moved ? "moved" : "refused");
}

export function failure(code: Code, message: string, reach: FailureReach): UpstreamFailure {
  return { ok: false, code, message, reach };
}

/** Decodes the body of a rare frame by the general codec; whatever it complains of is a `MeshError`. */
export function decodeRare<T>(decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  try {
    return decode(bytes);
  } catch (error) {
    throw new MeshError(Code.InternalServerError, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}
