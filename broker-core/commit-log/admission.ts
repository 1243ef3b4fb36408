import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { StorageError } from "../storage/storage.ts";
import { RecordType } from "./log.ts";

/** Room kept in the last segment for acks and hand-outs when the disk gives no next one (B13). */
export const reserveBytesMax = 16 * 1024 * 1024;

export function reserveBytes(segmentCapacityBytes: number): number {
  return Math.min(reserveBytesMax, Math.floor(segmentCapacityBytes / 4));
}

export interface LogState {
  /** End of the segment in use. */
  readonly currentEnd: number;
  /** End of the segment that stands ready behind it; undefined when none does. */
  readonly nextEnd: number | undefined;
  readonly reserve: number;
  readonly durable: number;
  readonly undurableBytesMax: number;
  /** The log failed, or a batch waits for room on the disk. */
  readonly isHalted: boolean;
  /** A sync has been under way for longer than 10 s. */
  readonly isSyncStuck: boolean;
  /** The file system is so full that what is left is for acks, hand-outs and retention. */
  readonly isDiskShort: boolean;
}

/** Positions up to which records are taken. Limits instead of questions: an append compares two numbers. */
export interface AdmissionLimits {
  /** For records that can be refused. */
  readonly messages: number;
  /** For those that make visible what is stored already. */
  readonly releases: number;
  /** For all others. */
  readonly others: number;
}

export function admissionLimits(state: LogState): AdmissionLimits {
  if (state.isHalted) return { messages: -1, releases: -1, others: -1 };
  const others = state.nextEnd ?? state.currentEnd;
  if (state.isSyncStuck) return { messages: -1, releases: -1, others };
  const undurable = state.durable + state.undurableBytesMax;
  // A release takes eighty bytes and lets a message go that its consumers wait for; the rest of the reserve is for their acks.
  const releases = Math.min(others - Math.floor(state.reserve / 2), undurable);
  if (state.isDiskShort) return { messages: -1, releases, others };
  return { messages: Math.min(others - state.reserve, undurable), releases, others };
}

/** Messages are refused above this share of the disk (reliability table: 90 %), unless so much is free all the same. */
const fullFraction = 0.9;
const roomyBytes = 16 * 1024 ** 3;

export function isDiskShort(freeBytes: number, totalBytes: number): boolean {
  return Number.isFinite(totalBytes) && freeBytes < roomyBytes && freeBytes <= (1 - fullFraction) * totalBytes;
}

/**
 * Up to where a record is taken. Only what can come again may be refused for want of room: a producer sends again, and before
 * that a due message goes on waiting.
 */
export function limitOf(type: RecordType, limits: AdmissionLimits): number {
  switch (type) {
    case RecordType.Message:
    case RecordType.TimedMessage:
    case RecordType.HalfMessage:
      return limits.messages;
    case RecordType.Due:
      return limits.releases;
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/**
 * Whether a record is to be on disk soon, because an answer or a consumer waits for that. Hand-outs and new invisible times
 * are answered when written; who does wait for one asks with `whenDurable`.
 */
export function isAwaited(type: RecordType): boolean {
  return type !== RecordType.Pop && type !== RecordType.Change;
}

/** What the caller is told when a record is over its limit. */
export function refusal(obstacle: StorageError | undefined, isSyncStuck: boolean, isShort: boolean): MeshError {
  if (obstacle?.kind === "read-only") {
    const message = `the broker's disk is read-only (${obstacle.message}); it serves what it has and goes on when the disk can be written`;
    return new MeshError(Code.InternalServerError, message, { cause: obstacle });
  }
  if (obstacle !== undefined) {
    const message = `the broker's disk takes no more (${obstacle.message}); free space, it goes on within a second`;
    return new MeshError(Code.TooManyRequests, message, { cause: obstacle });
  }
  if (isShort) {
    const message = `the broker's disk is over ${100 * fullFraction} % full; free space, it goes on within a second`;
    return new MeshError(Code.TooManyRequests, message);
  }
  const why = isSyncStuck ? "has not answered a sync for 10 s" : "is slower than what arrives";
  return new MeshError(Code.TooManyRequests, `the broker's disk ${why}; send again later`);
}
