import {
  type AuditLine,
  type CatalogChange,
  emptyTables,
  isAudited,
  type ReadonlyCatalogTables,
  type RecordByKind,
  type RecordKind,
  recordKinds,
} from "./catalog-table.ts";

/** Written records of one kind by key; undefined: deleted. */
type Written = Map<string, CatalogChange["record"]>;

/**
 * A change in the making: reads see what was written before in the same draft, and nothing is in force until the whole
 * draft is. Throwing away a draft undoes it.
 */
export class CatalogDraft {
  readonly #tables: ReadonlyCatalogTables;
  readonly #written: Readonly<Record<RecordKind, Written>>;
  /** By how much each kind grows. */
  readonly #growth: Record<RecordKind, number>;
  /** Wall clock of the change. */
  readonly nowMs: number;
  /** Who asks for it. */
  readonly by: string;

  /** Whether a broker holds a lease. */
  readonly isAlive: (brokerName: string) => boolean;

  constructor(
    tables: ReadonlyCatalogTables,
    circumstances: {
      readonly nowMs: number;
      readonly by: string;
      readonly isAlive: (brokerName: string) => boolean;
    },
  ) {
    this.#tables = tables;
    this.#written = emptyTables() as Record<RecordKind, Written>;
    this.#growth = Object.fromEntries(recordKinds.map((kind) => [kind, 0])) as Record<RecordKind, number>;
    this.nowMs = circumstances.nowMs;
    this.by = circumstances.by;
    this.isAlive = circumstances.isAlive;
  }

  get<K extends RecordKind>(kind: K, key: string): RecordByKind[K] | undefined {
    const written = this.#written[kind];
    if (written.has(key)) return written.get(key) as RecordByKind[K] | undefined;
    return this.#tables[kind].get(key);
  }

  put<K extends RecordKind>(kind: K, key: string, record: RecordByKind[K]): void {
    this.#write(kind, key, record);
  }

  delete(kind: RecordKind, key: string): void {
    this.#write(kind, key, undefined);
  }

  /** Keys of one kind, written ones included, in no particular order. */
  keys(kind: RecordKind): string[] {
    const keys = new Set(this.#tables[kind].keys());
    for (const [key, record] of this.#written[kind]) {
      if (record === undefined) keys.delete(key);
      else keys.add(key);
    }
    return [...keys];
  }

  /** How many records of one kind there are, written ones included. */
  count(kind: RecordKind): number {
    return this.#tables[kind].size + this.#growth[kind];
  }

  /** What the draft changes. */
  changes(): CatalogChange[] {
    return recordKinds.flatMap((kind) =>
      [...this.#written[kind]].map(([key, record]) => ({ kind, key, record }) as CatalogChange),
    );
  }

  /** One line per resource that changes. Bookkeeping has none. */
  auditLines(): AuditLine[] {
    return this.changes()
      .filter((change) => isAudited(change.kind))
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

  #write(kind: RecordKind, key: string, record: CatalogChange["record"]): void {
    const existed = this.get(kind, key) !== undefined;
    this.#growth[kind] += (record === undefined ? 0 : 1) - (existed ? 1 : 0);
    this.#written[kind].set(key, record);
  }
}
