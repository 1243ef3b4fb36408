import type { AuditLine, CatalogChange, ReadonlyCatalogTables, RecordByKind, RecordKind } from "./catalog-table.ts";

/**
 * A change in the making: reads see what was written before in the same draft, and nothing is in force until the whole
 * draft is. Throwing away a draft undoes it.
 */
export class CatalogDraft {
  readonly #tables: ReadonlyCatalogTables;
  readonly #written = new Map<string, CatalogChange>();
  /** Wall clock of the change. */
  readonly nowMs: number;
  /** Who asks for it. */
  readonly by: string;

  constructor(tables: ReadonlyCatalogTables, nowMs: number, by: string) {
    this.#tables = tables;
    this.nowMs = nowMs;
    this.by = by;
  }

  get<K extends RecordKind>(kind: K, key: string): RecordByKind[K] | undefined {
    const written = this.#written.get(`${kind} ${key}`);
    if (written !== undefined) return written.record as RecordByKind[K] | undefined;
    return this.#tables[kind].get(key);
  }

  put<K extends RecordKind>(kind: K, key: string, record: RecordByKind[K]): void {
    this.#written.set(`${kind} ${key}`, { kind, key, record } as CatalogChange);
  }

  delete(kind: RecordKind, key: string): void {
    this.#written.set(`${kind} ${key}`, { kind, key, record: undefined });
  }

  /** Keys of one kind, written ones included, in no particular order. */
  keys(kind: RecordKind): string[] {
    const keys = new Set(this.#tables[kind].keys());
    for (const change of this.#written.values()) {
      if (change.kind !== kind) continue;
      if (change.record === undefined) keys.delete(change.key);
      else keys.add(change.key);
    }
    return [...keys];
  }

  /** How many records of one kind there are, written ones included. */
  count(kind: RecordKind): number {
    let count = this.#tables[kind].size;
    for (const change of this.#written.values()) {
      if (change.kind !== kind) continue;
      const existed = this.#tables[kind].has(change.key);
      if (change.record !== undefined && !existed) count++;
      if (change.record === undefined && existed) count--;
    }
    return count;
  }

  /** What the draft changes, in the order in which it was first written. */
  changes(): CatalogChange[] {
    return [...this.#written.values()];
  }

  /** One line per resource that changes. Counters are bookkeeping and have none. */
  auditLines(): AuditLine[] {
    return this.changes()
      .filter((change) => change.kind !== "counter")
      .map((change) => ({
        atMs: this.nowMs,
        by: this.by,
        action:
          change.record === undefined
            ? "deleted"
            : this.#tables[change.kind].has(change.key)
              ? "configured"
              : "created",
        kind: change.kind,
        name: change.key,
      }));
  }
}
