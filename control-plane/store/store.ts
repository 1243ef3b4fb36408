import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Key, open, type RootDatabase } from "lmdb";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { CatalogStore } from "../catalog/catalog.ts";
import {
  type AuditLine,
  type CatalogChange,
  type CatalogTables,
  emptyTables,
  recordKinds,
} from "../catalog/catalog-table.ts";
import { CountMarker, readCountMarker } from "./count-marker.ts";
import { lockDirectory } from "./directory-lock.ts";
import { guardStore } from "./guard.ts";

/** Version of the layout on disk. A store of a newer version is refused. */
const formatVersion = 1;
/** Audit lines kept; older ones go as new ones come. */
const auditLinesMax = 100_000;

/** The store must not be served, or cannot be read by this version; a restart does not help. */
export class StoreRefusedError extends Error {
  override readonly name = "StoreRefusedError";
}

export interface StoreOptions {
  readonly directory: string;
  readonly bootstrap: boolean;
  readonly acceptEmptyStore: boolean;
  readonly clock: Clock;
}

/**
 * The control plane's disk. Everything lies in one lmdb table: [kind, key] holds a record as JSON, ["audit", n] a line of
 * the trail, ["meta", …] the format. A write resolves after fdatasync, all or nothing, and survives `kill -9`.
 */
export class Store implements CatalogStore {
  readonly tables: CatalogTables;
  readonly #database: RootDatabase<unknown, Key>;
  readonly #marker: CountMarker;
  readonly #lock: { release(): void };
  /** What the guard counts: that which people and programs declared. */
  readonly #counted: Set<string>;
  #auditNext: number;

  private constructor(
    database: RootDatabase<unknown, Key>,
    tables: CatalogTables,
    marker: CountMarker,
    lock: { release(): void },
    auditNext: number,
  ) {
    this.#database = database;
    this.tables = tables;
    this.#marker = marker;
    this.#lock = lock;
    this.#counted = new Set([
      ...[...tables.topic.keys()].map((key) => countedKey("topic", key)),
      ...[...tables.group.keys()].map((key) => countedKey("group", key)),
    ]);
    this.#auditNext = auditNext;
  }

  /**
   * Opens or creates the store and reads all of it. Throws `StoreRefusedError` when it must not be served and
   * `DirectoryLockedError` when another process has it.
   */
  static async open(options: StoreOptions): Promise<Store> {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const lock = lockDirectory(options.directory, options.clock.bootId);
    try {
      return await openLocked(options, lock, (...parts) => new Store(...parts));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async write(changes: readonly CatalogChange[], audit: readonly AuditLine[]): Promise<void> {
    for (const { kind, key, record } of changes) {
      if (kind !== "topic" && kind !== "group") continue;
      if (record === undefined) this.#counted.delete(countedKey(kind, key));
      else this.#counted.add(countedKey(kind, key));
    }
    const count = this.#counted.size;
    this.#marker.beforeChange(count);
    // `batch` is atomic; the asynchronous `transaction` of lmdb 3.5.6 never calls back on Node 20.
    await this.#database.batch(() => {
      for (const { kind, key, record } of changes) {
        if (record === undefined) void this.#database.remove([kind, key]);
        else void this.#database.put([kind, key], record);
      }
      for (const line of audit) {
        if (this.#auditNext >= auditLinesMax) void this.#database.remove(["audit", this.#auditNext - auditLinesMax]);
        void this.#database.put(["audit", this.#auditNext++], line);
      }
    });
    this.#marker.afterChange(count);
  }

  /** The last lines of the trail, newest first. */
  audit(countMax: number): AuditLine[] {
    const range = { start: ["audit", Number.MAX_SAFE_INTEGER], end: ["audit"], reverse: true, limit: countMax };
    return [...this.#database.getRange(range)].map(({ value }) => value as AuditLine);
  }

  async close(): Promise<void> {
    await this.#database.close();
    this.#marker.close();
    this.#lock.release();
  }
}

async function openLocked(
  options: StoreOptions,
  lock: { release(): void },
  make: (
    database: RootDatabase<unknown, Key>,
    tables: CatalogTables,
    marker: CountMarker,
    lock: { release(): void },
    auditNext: number,
  ) => Store,
): Promise<Store> {
  const path = join(options.directory, "store");
  const markerCount = readCountMarker(options.directory);
  const confirm = (storeCount: number | undefined) => {
    const decision = guardStore({ ...options, markerCount, storeCount });
    if (!decision.serve) throw new StoreRefusedError(`${options.directory}: ${decision.reason}`);
  };
  // Opening creates the files, so a missing store is judged first.
  if (!existsSync(join(path, "data.mdb"))) confirm(undefined);
  const database = open<unknown, Key>({ path, encoding: "json" });
  try {
    const format = database.get(["meta", "format"]);
    if (format === undefined) {
      confirm(undefined);
      await database.put(["meta", "format"], formatVersion);
    } else if (format !== formatVersion) {
      throw new StoreRefusedError(
        `${path} has format ${String(format)}, this version reads format ${formatVersion}; run the version that wrote it`,
      );
    }
    const tables = readTables(database);
    const storeCount = tables.topic.size + tables.group.size;
    confirm(format === undefined ? undefined : storeCount);
    const [lastAudit] = database.getKeys({ start: ["audit", Number.MAX_SAFE_INTEGER], end: ["audit"], reverse: true });
    const auditNext = Array.isArray(lastAudit) ? Number(lastAudit[1]) + 1 : 0;
    const marker = new CountMarker(options.directory, storeCount, options.clock);
    return make(database, tables, marker, lock, auditNext);
  } catch (error) {
    await database.close();
    throw error;
  }
}

function readTables(database: RootDatabase<unknown, Key>): CatalogTables {
  const tables = emptyTables();
  for (const kind of recordKinds) {
    const table: Map<string, unknown> = tables[kind];
    for (const { key, value } of database.getRange({ start: [kind], end: [kind, "￿"] })) {
      table.set(String((key as string[])[1]), value);
    }
  }
  return tables;
}

function countedKey(kind: "topic" | "group", key: string): string {
  return `${kind} ${key}`;
}
