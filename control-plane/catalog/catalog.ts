import type { Clock } from "../../proto/runtime/clock.ts";
import { CatalogDraft } from "./catalog-draft.ts";
import type { AuditLine, CatalogChange, CatalogTables, ReadonlyCatalogTables } from "./catalog-table.ts";

/** Where changes are made durable; `store/` is the one that does it on disk. */
export interface CatalogStore {
  /** Resolves when all of it is on disk, all or nothing; rejects when it cannot be written. */
  write(changes: readonly CatalogChange[], audit: readonly AuditLine[]): Promise<void>;
}

export interface CatalogOptions {
  /** What the store holds; the catalog takes them over. */
  readonly tables: CatalogTables;
  readonly store: CatalogStore;
  readonly clock: Clock;
  /** Whether a broker holds a lease. */
  readonly isAlive: (brokerName: string) => boolean;
  /** Something decided could not be written, so memory and disk no longer agree; the process must end. */
  readonly onStoreFailure: (error: unknown) => void;
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
  readonly #isAlive: (brokerName: string) => boolean;
  readonly #onStoreFailure: (error: unknown) => void;
  readonly #listeners: CatalogListener[] = [];
  /** Settles when every change decided so far is on disk and published. */
  #settled: Promise<void> = Promise.resolve();

  constructor(options: CatalogOptions) {
    this.#tables = options.tables;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#isAlive = options.isAlive;
    this.#onStoreFailure = options.onStoreFailure;
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
    const draft = this.#draft(by);
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

  /** What `decide` would return, and change nothing. Throws what it throws. */
  preview<T>(by: string, decide: (draft: CatalogDraft) => T): T {
    return decide(this.#draft(by));
  }

  #draft(by: string): CatalogDraft {
    return new CatalogDraft(this.#tables, { nowMs: this.#clock.wallMs(), by, isAlive: this.#isAlive });
  }

  #enforce(change: CatalogChange): void {
    const table: Map<string, unknown> = this.#tables[change.kind];
    if (change.record === undefined) table.delete(change.key);
    else table.set(change.key, change.record);
  }
}
