import { SqlFilter } from "../../proto/filter/sql-filter.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { type Condition, ConditionGenerator, randomRow, tableSql } from "./sql-generator.ts";
import { type Row, type Verdict, verdictOf } from "./sql-row.ts";
import type { SqliteDatabase } from "./sqlite.ts";

export interface DifferentialReport {
  readonly expressions: number;
  readonly rows: number;
  readonly evaluations: number;
  readonly verdicts: Readonly<Record<Verdict, number>>;
}

/** Rows that one expression is asked of. */
const rowsPerExpression = 8;
/** Expressions that are asked of the same rows, and in one statement: SQLite's limit of columns is far above. */
const expressionsPerTable = 200;
const expressionsPerStatement = 20;
const depthMax = 3;

/**
 * Random expressions over random rows, evaluated by us and by SQLite: true, false and unknown must agree in each. Throws at
 * the first that does not, with both expressions and the row.
 */
export function compareWithSqlite(sqlite: SqliteDatabase, seed: number, expressions: number): DifferentialReport {
  const randomness = new SeededRandomness(seed);
  const generator = new ConditionGenerator(randomness);
  const verdicts: Record<Verdict, number> = { true: 0, false: 0, unknown: 0, fails: 0 };
  let evaluations = 0;
  sqlite.run(tableSql);
  for (let done = 0; done < expressions; ) {
    sqlite.run("DELETE FROM message");
    const rows: Row[] = [];
    for (let id = 0; id < rowsPerExpression; id++) {
      const { row, insertSql } = randomRow(id, randomness);
      sqlite.run(insertSql);
      rows.push(row);
    }
    for (let i = 0; i < expressionsPerTable && done < expressions; i += expressionsPerStatement) {
      const count = Math.min(expressionsPerStatement, expressions - done);
      const conditions = Array.from({ length: count }, () => generator.condition(depthMax));
      const selected = sqlite.exec(`SELECT ${conditions.map(({ sql }) => sql).join(", ")} FROM message ORDER BY id`);
      const values = selected[0]?.values ?? [];
      if (values.length !== rows.length) throw new Error(`SQLite gave ${values.length} rows`);
      conditions.forEach((condition, column) => {
        const filter = new SqlFilter(condition.ours);
        rows.forEach((row, index) => {
          const theirs = values[index]?.[column];
          const expected: Verdict = theirs === null ? "unknown" : theirs === 0 ? "false" : "true";
          const ours = verdictOf(filter, row);
          if (ours !== expected) throw difference(condition, row, ours, expected);
          verdicts[ours]++;
          evaluations++;
        });
      });
      done += count;
    }
  }
  return { expressions, rows: rowsPerExpression, evaluations, verdicts };
}

function difference(condition: Condition, row: Row, ours: Verdict, theirs: Verdict): Error {
  return new Error(
    `ours is ${ours}, SQLite says ${theirs}\n  ours:   ${condition.ours}\n  SQLite: ${condition.sql}\n  row: ${JSON.stringify(row)}`,
  );
}

export function differentialTable(report: DifferentialReport, seed: number, tookMs: number): string {
  const { expressions, rows, evaluations, verdicts } = report;
  return (
    `${expressions} expressions x ${rows} rows = ${evaluations} evaluations in ${(tookMs / 1000).toFixed(1)} s, seed ${seed}: ` +
    `${verdicts.true} true, ${verdicts.false} false, ${verdicts.unknown} unknown, 0 differences`
  );
}
