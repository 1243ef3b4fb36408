import { StorageError } from "../storage/storage.ts";
import { LogTrimmedError } from "./log.ts";

/** Whether a read of the log failed because of what lies there: damaged bytes, or nothing any more. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof StorageError || error instanceof LogTrimmedError;
}
