import type { Clock } from "../../proto/runtime/clock.ts";
import { crc32 } from "../commit-log/crc32.ts";
import { readUint53, writeUint53 } from "../commit-log/log-frame.ts";
import { type Storage, StorageError, type StorageFile, writeWhole } from "../storage/storage.ts";

export const baseDirectory = "base";
const fileName = /^(\d{20})\.([ab])$/;
/** Two files, so that damage to one leaves the other: without a base image a trimmed log cannot be read. */
const copies = ["a", "b"] as const;

/** u32 magic, u32 version, u64 position, u64 taken ms, u64 length, u32 CRC of the bytes, u32 CRC of this header. */
const headerBytes = 40;
const magic = 0xf1504d69;
const version = 1;
/** Of a state image, what its version stands in. */
const imageHeadBytes = 6;
/** Written per turn of the event loop. */
const sliceBytes = 256 * 1024;

export interface BaseMark {
  readonly position: number;
  /** When the log stood there. */
  readonly takenMs: number;
}

/** Writes both copies of a base image; when it resolves they are on disk. Rejects with `StorageError`. */
export async function writeBase(storage: Storage, clock: Clock, mark: BaseMark, bytes: Buffer): Promise<void> {
  storage.makeDirectory(baseDirectory);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(version, 4);
  writeUint53(header, mark.position, 8);
  writeUint53(header, Math.floor(mark.takenMs), 16);
  writeUint53(header, bytes.length, 24);
  header.writeUInt32BE(crc32(bytes, 0, bytes.length), 32);
  header.writeUInt32BE(crc32(header, 0, 36), 36);
  for (const copy of copies) {
    const path = basePath(mark.position, copy);
    const file = storage.open(`${path}.tmp`, { create: true });
    try {
      file.truncate(0);
      writeWhole(file, header, 0);
      for (let at = 0; at < bytes.length; at += sliceBytes) {
        if (at > 0) await new Promise<void>((resolve) => clock.atTurnEnd(resolve));
        writeWhole(file, bytes.subarray(at, at + sliceBytes), headerBytes + at);
      }
      await file.sync();
    } finally {
      file.close();
    }
    storage.rename(`${path}.tmp`, path);
  }
  await storage.syncDirectory(baseDirectory);
}

/** The bases of which at least one copy proves itself, in order of position. Leftovers of an interrupted write are removed. */
export function listBases(storage: Storage): BaseMark[] {
  const marks = new Map<number, BaseMark>();
  for (const name of storage.list(baseDirectory)) {
    if (name.endsWith(".tmp")) storage.unlink(`${baseDirectory}/${name}`);
    const match = fileName.exec(name);
    if (match === null || marks.has(Number(match[1]))) continue;
    const found = tryRead(storage, `${baseDirectory}/${name}`, Number(match[1]));
    if (found !== undefined) marks.set(found.mark.position, found.mark);
  }
  return [...marks.values()].sort((a, b) => a.position - b.position);
}

/** Positions that files are named by, whether they can be read or not. */
export function basePositions(storage: Storage): number[] {
  const positions = storage.list(baseDirectory).flatMap((name) => {
    const match = fileName.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  return [...new Set(positions)].sort((a, b) => a - b);
}

/** Undefined when neither copy proves itself. */
export function readBase(storage: Storage, position: number): Buffer | undefined {
  for (const copy of copies) {
    const found = tryRead(storage, basePath(position, copy), position);
    if (found !== undefined) return found.bytes;
  }
  return undefined;
}

/**
 * The first base image at or above `begin` that a newer release has written, by its own version or that of the state in it
 * (`isKnown`), and the reason why this one cannot read it.
 */
export function findForeignBase(
  storage: Storage,
  begin: number,
  imageVersion: (image: Buffer) => number | undefined,
  isKnown: (imageVersion: number) => boolean,
): string | undefined {
  const beginning = Buffer.alloc(headerBytes + imageHeadBytes);
  for (const position of basePositions(storage)) {
    if (position < begin) continue;
    for (const copy of copies) {
      const path = basePath(position, copy);
      if (!readBeginning(storage, path, beginning)) continue;
      const found = beginning.readUInt32BE(4);
      if (found !== version) return `${path} has format ${found}; this release knows ${version}`;
      const ofImage = imageVersion(beginning.subarray(headerBytes));
      if (ofImage !== undefined && !isKnown(ofImage)) {
        return `${path} holds a state of version ${ofImage}, which this release does not know`;
      }
    }
  }
  return undefined;
}

/** False when there is no base image that proves its header. */
function readBeginning(storage: Storage, path: string, into: Buffer): boolean {
  let file: StorageFile | undefined;
  try {
    file = storage.open(path, { create: false });
    if (file.read(into, 0, into.length, 0) !== into.length) return false;
    return into.readUInt32BE(0) === magic && into.readUInt32BE(36) === crc32(into, 0, 36);
  } catch (error) {
    if (error instanceof StorageError && (error.kind === "io" || error.kind === "missing")) return false;
    throw error;
  } finally {
    file?.close();
  }
}

/** Which copies of a base image prove themselves. */
export function baseCopies(
  storage: Storage,
  position: number,
): { readonly path: string; readonly isReadable: boolean }[] {
  return copies.map((copy) => {
    const path = basePath(position, copy);
    return { path, isReadable: tryRead(storage, path, position) !== undefined };
  });
}

/** Removes what no start will ask for: bases below `position`. */
export async function removeBasesBelow(storage: Storage, position: number): Promise<void> {
  let removed = 0;
  for (const name of storage.list(baseDirectory)) {
    const match = fileName.exec(name);
    if (match === null || Number(match[1]) >= position) continue;
    storage.unlink(`${baseDirectory}/${name}`);
    removed++;
  }
  if (removed > 0) await storage.syncDirectory(baseDirectory);
}

function basePath(position: number, copy: (typeof copies)[number]): string {
  return `${baseDirectory}/${String(position).padStart(20, "0")}.${copy}`;
}

function tryRead(
  storage: Storage,
  path: string,
  position: number,
): { readonly mark: BaseMark; readonly bytes: Buffer } | undefined {
  let file: StorageFile | undefined;
  try {
    file = storage.open(path, { create: false });
    const all = Buffer.allocUnsafeSlow(file.sizeBytes());
    if (file.read(all, 0, all.length, 0) !== all.length || all.length < headerBytes) return undefined;
    if (all.readUInt32BE(0) !== magic || all.readUInt32BE(36) !== crc32(all, 0, 36)) return undefined;
    if (all.readUInt32BE(4) !== version || readUint53(all, 24) !== all.length - headerBytes) return undefined;
    if (readUint53(all, 8) !== position || all.readUInt32BE(32) !== crc32(all, headerBytes, all.length))
      return undefined;
    return { mark: { position, takenMs: readUint53(all, 16) }, bytes: all.subarray(headerBytes) };
  } catch (error) {
    if (error instanceof StorageError && (error.kind === "io" || error.kind === "missing")) return undefined;
    throw error;
  } finally {
    file?.close();
  }
}
