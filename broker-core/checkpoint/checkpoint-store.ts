import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { crc32 } from "../commit-log/crc32.ts";
import { readUint53, writeUint53 } from "../commit-log/log-frame.ts";
import { quarantine, quarantineDirectory } from "../storage/quarantine.ts";
import { type Storage, StorageError, type StorageFile, writeWhole } from "../storage/storage.ts";

/** The derived state at a log position: a cache that shortens a start. What it holds is the business of its author. */
export interface Checkpoint {
  /** The state reflects every record below this log position and none above. */
  readonly position: number;
  readonly bytes: Buffer;
}

export const checkpointDirectory = "checkpoint";
const fileName = /^\d{20}\.ckpt$/;

/** u32 magic, u32 version, u64 position, u64 length, u32 CRC of the bytes, u32 CRC of this header. */
const headerBytes = 32;
const magic = 0xf1504d63;
const version = 1;

/** The second newest stays, should the newest turn out damaged. */
const keptCount = 2;
/** Written per turn of the event loop, so that a large state does not hold up traffic. */
const sliceBytes = 256 * 1024;

/**
 * Makes a checkpoint that is there completely or not at all, then removes all but the two newest. `position` must be durable
 * in the log (`CommitLog.syncedPosition` or below). Rejects with `StorageError`; the log itself is not concerned by that.
 */
export async function writeCheckpoint(
  storage: Storage,
  clock: Clock,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  storage.makeDirectory(checkpointDirectory);
  const path = `${checkpointDirectory}/${String(position).padStart(20, "0")}.ckpt`;
  const draft = `${path}.tmp`;
  const file = storage.open(draft, { create: true });
  try {
    file.truncate(0);
    const crc = await writeSlices(file, clock, bytes);
    writeWhole(file, headerOf(position, bytes.length, crc), 0);
    await file.sync();
  } catch (error) {
    file.close();
    storage.unlink(draft);
    throw error;
  }
  file.close();
  storage.rename(draft, path);
  await storage.syncDirectory(checkpointDirectory);
  for (const name of checkpointNames(storage).slice(0, -keptCount)) storage.unlink(`${checkpointDirectory}/${name}`);
}

export interface FoundCheckpoint {
  /** The newest one that proves itself; undefined: the log is replayed from its beginning. */
  readonly newest: Checkpoint | undefined;
  /** Moves newer ones that cannot be read to `quarantine/`, and removes what an interrupted write has left. */
  readonly tidy: () => Promise<void>;
}

/** Changes nothing before `tidy`. A checkpoint of another release is passed over, and stays. */
export function findCheckpoint(storage: Storage, log: Log): FoundCheckpoint {
  const unreadable: string[] = [];
  let newest: Checkpoint | undefined;
  for (const { path, found } of inspectCheckpoints(storage).reverse()) {
    if (typeof found === "object") {
      newest = found;
      break;
    }
    if (found === "unreadable") unreadable.push(path);
    else log.info({ path }, "a checkpoint of another release is passed over; the log serves");
  }
  const tidy = async (): Promise<void> => {
    for (const name of storage.list(checkpointDirectory)) {
      if (name.endsWith(".tmp")) storage.unlink(`${checkpointDirectory}/${name}`);
    }
    for (const path of unreadable) {
      const target = quarantine(storage, path);
      await storage.syncDirectory(checkpointDirectory);
      await storage.syncDirectory(quarantineDirectory);
      log.warn({ path, target }, "a checkpoint cannot be read; it was moved and an older one or the log itself serves");
    }
  };
  return { newest, tidy };
}

/** "other release": it proves itself, and its format has a number that this release does not know. */
type Inspected = Checkpoint | "unreadable" | "other release";

/** Every checkpoint that is there, in order of position. Changes nothing. */
export function inspectCheckpoints(storage: Storage): { readonly path: string; readonly found: Inspected }[] {
  return checkpointNames(storage).map((name) => {
    const path = `${checkpointDirectory}/${name}`;
    return { path, found: inspect(storage, path) };
  });
}

/** Names in order of position: 20 digits sort as numbers do. */
export function checkpointNames(storage: Storage): string[] {
  return storage.list(checkpointDirectory).filter((name) => fileName.test(name));
}

function headerOf(position: number, length: number, crc: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(version, 4);
  writeUint53(header, position, 8);
  writeUint53(header, length, 16);
  header.writeUInt32BE(crc, 24);
  header.writeUInt32BE(crc32(header, 0, 28), 28);
  return header;
}

/** Resolves to the CRC of all bytes. */
async function writeSlices(file: StorageFile, clock: Clock, bytes: Uint8Array): Promise<number> {
  let crc = 0;
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    if (at > 0) await new Promise<void>((resolve) => clock.atTurnEnd(resolve));
    const slice = asBuffer(bytes.subarray(at, at + sliceBytes));
    writeWhole(file, slice, headerBytes + at);
    crc = crc32(slice, 0, slice.length, crc);
  }
  return crc;
}

function inspect(storage: Storage, path: string): Inspected {
  let file: StorageFile | undefined;
  try {
    file = storage.open(path, { create: false });
    const all = Buffer.allocUnsafeSlow(file.sizeBytes());
    if (file.read(all, 0, all.length, 0) !== all.length || all.length < headerBytes) return "unreadable";
    if (all.readUInt32BE(0) !== magic || all.readUInt32BE(28) !== crc32(all, 0, 28)) return "unreadable";
    if (all.readUInt32BE(4) !== version) return "other release";
    if (readUint53(all, 16) !== all.length - headerBytes) return "unreadable";
    if (path !== `${checkpointDirectory}/${String(readUint53(all, 8)).padStart(20, "0")}.ckpt`) return "unreadable";
    if (all.readUInt32BE(24) !== crc32(all, headerBytes, all.length)) return "unreadable";
    return { position: readUint53(all, 8), bytes: all.subarray(headerBytes) };
  } catch (error) {
    if (error instanceof StorageError && error.kind === "io") return "unreadable";
    throw error;
  } finally {
    file?.close();
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
