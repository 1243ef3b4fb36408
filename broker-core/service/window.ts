import assert from "node:assert/strict";
import { frameBytesMax } from "../../proto/frame/frame.ts";

/** What one connection may have outstanding; a sidecar hears it in the Welcome (docs/frame-protocol.md, "Windows"). */
export interface Windows {
  /** Requests that are not receives. */
  readonly requests: number;
  /** Receives, parked or not. */
  readonly receives: number;
  /** Bytes of sends whose answer has not left. */
  readonly requestBytes: number;
  /**
   * Bytes of answers that its socket has not taken. Not told to the sidecar: one that asks for more than it reads is cut, and
   * what it did not get goes to others.
   */
  readonly untakenBytes: number;
}

export const defaultWindows: Windows = Object.freeze({
  requests: 1024,
  receives: 16_384,
  requestBytes: 64 * 1024 * 1024,
  untakenBytes: 64 * 1024 * 1024,
});

// The largest send must fit into the window of an idle connection, or it could never be sent.
assert.ok(defaultWindows.requestBytes >= frameBytesMax);
// A sidecar that reads must never be cut for one large answer behind another.
assert.ok(defaultWindows.untakenBytes >= 2 * frameBytesMax);

/** Sidecars at the same time; each may hold `Windows`, so this bounds the memory of all of them. */
export const connectionsMax = 1024;
/** Time from the accepted socket to the Hello. */
export const helloMsMax = 5_000;
/** No byte for this long: the peer is gone. A sidecar pings every 10 s. */
export const silenceMsMax = 15_000;
/** How often connections are looked at for the two limits above. */
export const sweepMs = 1_000;
/** A sweep this late means that this process was stopped or stalled: what the peers sent meanwhile is still unread. */
export const sweepLatenessMsMax = 1_000;

assert.ok(sweepMs + sweepLatenessMsMax < helloMsMax);
