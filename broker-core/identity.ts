import type { Randomness } from "../proto/runtime/randomness.ts";
import { type Storage, writeWhole } from "./storage/storage.ts";

/** Who a data directory belongs to. Made once, kept for the life of the directory, so that receipts outlive the process. */
export interface Identity {
  readonly brokerName: string;
  /** Seals receipts. Never leaves the process. */
  readonly receiptKey: Buffer;
}

/** The directory is not one this process may use: another broker's, or of a newer release. Exit code 78. */
export class DataDirectoryError extends Error {
  override readonly name = "DataDirectoryError";
  readonly isOfOtherRelease: boolean;

  constructor(message: string, isOfOtherRelease = false) {
    super(message);
    this.isOfOtherRelease = isOfOtherRelease;
  }
}

/** Version of the layout of the data directory; the files in it carry their own. */
export const directoryFormat = 1;
export const formatPath = "format";
const identityPath = "identity";
const receiptKeyBytes = 32;
const identityBytesMax = 4096;

/**
 * Checks that the directory is of a format this release reads and belongs to `brokerName`; makes the identity of a new one.
 * Throws `DataDirectoryError`, or `StorageError` when the disk refuses.
 */
export async function openIdentity(storage: Storage, randomness: Randomness, brokerName: string): Promise<Identity> {
  checkFormat(storage);
  if (!storage.exists(identityPath)) {
    if (storage.list("log").some((name) => name.endsWith(".log"))) {
      throw new DataDirectoryError(
        `the data directory has a log but no file "${identityPath}"; put it back from a copy: without its key all receipts out there are void`,
      );
    }
    const key = randomness.bytes(receiptKeyBytes);
    await writeSmallFile(storage, identityPath, JSON.stringify({ brokerName, receiptKey: key.toString("base64url") }));
  }
  const identity = readIdentity(storage);
  if (identity.brokerName !== brokerName) {
    throw new DataDirectoryError(
      `the data directory belongs to broker "${identity.brokerName}", this one is called "${brokerName}"; change --name or --data-dir`,
    );
  }
  return identity;
}

/** Of a directory that has one. Throws `DataDirectoryError` when it cannot be read, or the directory is of another format. */
export function readIdentity(storage: Storage): Identity {
  checkFormat(storage);
  if (!storage.exists(identityPath)) {
    throw new DataDirectoryError(
      `there is no file "${identityPath}"; put it back from a copy: without its key all receipts out there are void`,
    );
  }
  return parseIdentity(readSmallFile(storage, identityPath));
}

/** A directory without the file is new, or of a process that died while it was made. */
function checkFormat(storage: Storage): void {
  if (!storage.exists(formatPath)) return;
  const found = readSmallFile(storage, formatPath).trim();
  if (found === String(directoryFormat)) return;
  throw new DataDirectoryError(
    `the data directory has format "${found}"; this release knows ${directoryFormat}; nothing was changed`,
    true,
  );
}

function parseIdentity(text: string): Identity {
  try {
    const { brokerName, receiptKey } = JSON.parse(text) as { brokerName?: unknown; receiptKey?: unknown };
    if (typeof brokerName === "string" && typeof receiptKey === "string") {
      const key = Buffer.from(receiptKey, "base64url");
      if (key.length === receiptKeyBytes) return { brokerName, receiptKey: key };
    }
  } catch {
    // Said below, whatever is wrong with it.
  }
  throw new DataDirectoryError(
    `the file "${identityPath}" of the data directory cannot be read; put it back from a copy`,
  );
}

/** The beginning of a file, as text. */
export function readSmallFile(storage: Storage, path: string): string {
  const file = storage.open(path, { create: false });
  try {
    const bytes = Buffer.alloc(Math.min(file.sizeBytes(), identityBytesMax));
    return bytes.toString("utf8", 0, file.read(bytes, 0, bytes.length, 0));
  } finally {
    file.close();
  }
}

/** There completely or not at all. */
export async function writeSmallFile(storage: Storage, path: string, content: string): Promise<void> {
  const draft = `${path}.tmp`;
  const file = storage.open(draft, { create: true });
  try {
    file.truncate(0);
    writeWhole(file, Buffer.from(content), 0);
    await file.sync();
  } finally {
    file.close();
  }
  storage.rename(draft, path);
  await storage.syncDirectory("");
}
