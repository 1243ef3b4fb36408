import type { Allowance, Limiter } from "./limiter.ts";

/** A receive looks again at least this often: its share may have grown meanwhile. */
const waitSliceMsMax = 200;
const waitSliceMsMin = 5;

/** What a receive that limits hold back may do now. */
export type Pace =
  | { readonly kind: "go"; readonly allowed: Allowance }
  /** Look again after this many milliseconds. */
  | { readonly kind: "wait"; readonly ms: number };

/**
 * Reserves in all of `limiters` what a receive of `messages` and `bytes` may take; nothing where one of them allows nothing.
 * Messages are not popped before that, so none is held while it waits.
 */
export function paceReceive(limiters: readonly Limiter[], messages: number, bytes: number, nowMs: number): Pace {
  let allowedMessages = messages;
  let allowedBytes = bytes;
  for (const limiter of limiters) {
    allowedMessages = Math.min(allowedMessages, limiter.reservableMessages(allowedMessages, nowMs));
    if (allowedMessages > 0) allowedBytes = Math.min(allowedBytes, limiter.reservableBytes(allowedBytes, nowMs));
    if (allowedMessages > 0 && allowedBytes > 0) continue;
    const ms = Math.min(waitSliceMsMax, Math.max(waitSliceMsMin, Math.ceil(limiter.waitMs(1, 1, nowMs))));
    limiter.noteWait(messages, 0, ms);
    return { kind: "wait", ms };
  }
  const allowed = { messages: allowedMessages, bytes: allowedBytes };
  for (const limiter of limiters) limiter.reserve(allowed);
  return { kind: "go", allowed };
}

/** The end of what `paceReceive` allowed: so much was received. */
export function settleReceive(
  limiters: readonly Limiter[],
  allowed: Allowance,
  asked: number,
  received: readonly { readonly message: Uint8Array }[],
): void {
  let bytes = 0;
  for (const { message } of received) bytes += message.length;
  for (const limiter of limiters) limiter.settle(allowed, received.length, bytes, asked);
}
