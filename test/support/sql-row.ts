import { PropertyRow } from "../../proto/filter/property-row.ts";
import { SqlFilter } from "../../proto/filter/sql-filter.ts";

/** Properties by name; what is left out is missing. */
export type Row = Readonly<Record<string, string>>;

export type Verdict = "true" | "false" | "unknown" | "fails";

const verdicts: readonly Verdict[] = ["false", "true", "unknown"];
const values = new PropertyRow();

/** What a compiled filter says of a row. */
export function verdictOf(filter: SqlFilter, row: Row): Verdict {
  const { names } = filter.names;
  values.clear(names.length);
  names.forEach((name, number) => {
    if (!Object.hasOwn(row, name)) return;
    const bytes = Buffer.from(row[name] ?? "");
    values.set(number, bytes, 0, bytes.length);
  });
  const truth = filter.evaluate(values);
  return truth === undefined ? "fails" : (verdicts[truth] ?? "fails");
}

/** The same for an expression. */
export function verdict(expression: string, row: Row = {}): Verdict {
  return verdictOf(new SqlFilter(expression), row);
}
