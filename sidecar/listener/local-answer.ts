import { Code, codeName } from "../../proto/code.ts";
import { fieldBytes, statusBytes, writeStatusField } from "../../proto/codec/field.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";

/**
 * Clients that are told to slow down ask again at once (some SDKs do not wait at all), so the sidecar waits for them: long
 * enough for fewer than 50 calls a second in a loop, short enough to shed quickly.
 */
export const tooManyRequestsDelayMs = 25;

/**
 * Answers with nothing but a status. Every response message of the API has its Status in field 1, so the same bytes are a valid
 * answer to each unary call and the first message of a receive. `delayMs`: how long TOO_MANY_REQUESTS is held back at least.
 */
export function answerStatus(call: ServerCall, clock: Clock, code: Code, message: string, delayMs = 0): void {
  if (code === Code.TooManyRequests) {
    clock.after(Math.max(delayMs, tooManyRequestsDelayMs), () => writeStatusAnswer(call, code, message));
  } else writeStatusAnswer(call, code, message);
}

function writeStatusAnswer(call: ServerCall, code: Code, message: string): void {
  if (!call.isOpen) return;
  writeStatus(call, code, message);
  call.finish(GrpcStatus.Ok);
}

/** Writes a response with a status alone and leaves the call open. An empty text becomes the code's name. */
export function writeStatus(call: ServerCall, code: Code, message: string): void {
  const text = message === "" ? codeName(code) : message;
  call.sendWith(fieldBytes(statusBytes(code, text)), (into, at) => writeStatusField(into, at, 1, code, text));
}
