import type { Clock } from "../../proto/runtime/clock.ts";
import { CatalogDraft } from "./catalog-draft.ts";
import type { AuditLine, CatalogChange, CatalogTables, ReadonlyCatalogTables } from "./catalog-table.ts";

/** Where changes are made durable; `store/` is the one that does it on disk. */
export interface CatalogStore {
  /** Resolves when all of it is on disk, all or nothing; rejects when it cannot be written. */
  write(changes: readonly CatalogChange[], audit: readonly AuditLine[]): Promise<void>;
}

export type CatalogListener = (changes: readonly CatalogChange[]) => void;

/**
 * Everything the control plane knows, in memory; the store behind it is read once, at start. A change is decided on this
 * state at once, answered and published when it is on disk, in the order of the decisions.
 */
export class Catalog {
  readonly #tables: CatalogTables;
  readonly #store: CatalogStore;
  readonly #clock: Clock;
  readonly #onStoreFailure: (error: unknown) => void;
  readonly #listeners: CatalogListener[] = [];
  /** Settles when every change decided so far is on disk and published. */
  #settled: Promise<void> = Promise.resolve();

  /**
   * `tables` is what the store holds; the catalog takes them over. `onStoreFailure`: something decided could not be written,
   * so memory and disk no longer agree; the process must end.
   */
  constructor(tables: CatalogTables, store: CatalogStore, clock: Clock, onStoreFailure: (error: unknown) => void) {
    this.#tables = tables;
    this.#store = store;
    this.#clock = clock;
    this.#onStoreFailure = onStoreFailure;
  }

  get tables(): ReadonlyCatalogTables {
    return this.#tables;
  }

  /** `listener` is told of every change once it is durable. */
  onChange(listener: CatalogListener): void {
    this.#listeners.push(listener);
  }

  /**
   * Runs `decide` on a draft and puts the draft into force; resolves with what `decide` returned, once it is durable. A
   * decision that changes nothing resolves when what it saw is durable. When `decide` throws, nothing changes.
   */
  change<T>(by: string, decide: (draft: CatalogDraft) => T): Promise<T> {
    const draft = new CatalogDraft(this.#tables, this.#clock.wallMs(), by);
    let result: T;
    try {
      result = decide(draft);
    } catch (error) {
      return Promise.reject(error);
    }
    const changes = draft.changes();
    if (changes.length === 0) return this.#settled.then(() => result);
    const audit = draft.auditLines();
    for (const change of changes) this.#enforce(change);
    const written = this.#store.write(changes, audit).catch((error: unknown) => {
      this.#onStoreFailure(error);
      throw error;
    });
    this.#settled = Promise.all([this.#settled, written]).then(() => {
      for (const listener of this.#listeners) listener(changes);
    });
    return this.#settled.then(() => result);
  }

  #enforce(change: CatalogChange): void {
    const table: Map<string, unknown> = this.#tables[change.kind];
    if (change.record === undefined) table.delete(change.key);
    else table.set(change.key, change.record);
  }
}
