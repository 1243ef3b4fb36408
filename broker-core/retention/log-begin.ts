import { logDirectory } from "../commit-log/segment.ts";
import type { Storage } from "../storage/storage.ts";
import { basePositions } from "./base-image-store.ts";

/**
 * Where the log begins: 0 while its first segment is there, else at the oldest base image that the segments reach. Without any,
 * nothing was ever removed on purpose.
 */
export function logBeginOf(storage: Storage): number {
  const bases = basePositions(storage);
  const [first] = storage.list(logDirectory).filter((name) => /^\d{20}\.log$/.test(name));
  const firstPosition = first === undefined ? 0 : Number(first.slice(0, 20));
  return firstPosition === 0 ? 0 : (bases.find((position) => position >= firstPosition) ?? 0);
}
