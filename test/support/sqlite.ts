import { createRequire } from "node:module";

/** What of sql.js, the real SQLite compiled to WebAssembly, is used here. It comes without types. */
export interface SqliteDatabase {
  run(sql: string): void;
  exec(sql: string): readonly { readonly values: readonly (readonly (number | string | null)[])[] }[];
  close(): void;
}

/** A database in memory. */
export async function openSqlite(): Promise<SqliteDatabase> {
  const initialise = createRequire(import.meta.url)("sql.js") as () => Promise<{ Database: new () => SqliteDatabase }>;
  const { Database } = await initialise();
  return new Database();
}
