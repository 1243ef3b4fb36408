import type { Log } from "../proto/runtime/log.ts";
import { release } from "../proto/runtime/release.ts";
import { LogFormatError } from "./commit-log/log-format-error.ts";
import { knowsStateImageVersion, stateImageVersion } from "./dispatch/state-image.ts";
import { DataDirectoryError, directoryFormat, formatPath, readSmallFile, writeSmallFile } from "./identity.ts";
import { findForeignBase } from "./retention/base-image-store.ts";
import { type Storage, StorageError } from "./storage/storage.ts";

/** The release of popmesh that wrote to the directory last, in words: so that another one can say which to use. */
const releasePath = "release";
const releaseName = /^\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,40}$/;

/**
 * To be called before anything is written that an older release might not know. Without its name a refusal is less helpful, no more:
 * a disk that is full keeps no broker from starting.
 */
export async function noteRelease(storage: Storage, log: Log): Promise<void> {
  try {
    if (!storage.exists(formatPath)) await writeSmallFile(storage, formatPath, `${directoryFormat}\n`);
    if (lastRelease(storage) !== release) await writeSmallFile(storage, releasePath, `${release}\n`);
  } catch (error) {
    if (!(error instanceof StorageError) || error.kind === "io") throw error;
    log.warn({ err: error }, "the data directory does not say which release writes to it");
  }
}

/** Throws `DataDirectoryError` when the log begins, or may begin one day, at a state that a newer release has written. */
export function refuseForeignBase(storage: Storage, begin: number): void {
  const reason = findForeignBase(storage, begin, stateImageVersion, knowsStateImageVersion);
  if (reason !== undefined) throw new DataDirectoryError(`${reason}; nothing was changed`, true);
}

/** The same fault, with the release to be used in its message, if it is that the directory is of another one. */
export function namingRelease(storage: Storage, error: unknown): unknown {
  if (!(error instanceof DataDirectoryError || error instanceof LogFormatError) || !error.isOfOtherRelease)
    return error;
  const last = lastRelease(storage);
  const which =
    last === undefined || last === release
      ? "the release that wrote it, or a newer one"
      : `popmesh ${last}, which wrote to it last, or a newer one`;
  const message = `${error.message}. This is popmesh ${release}; use ${which}`;
  return error instanceof LogFormatError ? new LogFormatError(message) : new DataDirectoryError(message);
}

/** Undefined when nobody has noted it. */
function lastRelease(storage: Storage): string | undefined {
  if (!storage.exists(releasePath)) return undefined;
  const text = readSmallFile(storage, releasePath).trim();
  return releaseName.test(text) ? text : undefined;
}
