import { randomIndex } from "../../../proto/runtime/randomness.ts";
import { encodeMessage, type MessageKind, planGroup, planTopic } from "../plan.ts";

/** What messages carry; a missing property is NULL to the filter. */
type Properties = Readonly<Record<string, string>>;

/** Expressions with what they mean, three-valued logic included: unknown does not pass. */
const filters: readonly (readonly [string, (properties: Properties) => boolean])[] = [
  ["amount > 50", ({ amount }) => amount !== undefined && Number(amount) > 50],
  ["NOT (amount > 50)", ({ amount }) => amount !== undefined && !(Number(amount) > 50)],
  ["region IS NULL", ({ region }) => region === undefined],
  ["region = 'eu' AND amount BETWEEN 10 AND 60", (p) => p["region"] === "eu" && between(p["amount"], 10, 60)],
  [
    "region IN ('eu', 'us') OR amount < 20",
    (p) => ["eu", "us"].includes(p["region"] ?? "") || between(p["amount"], 0, 19),
  ],
];

/** Messages with properties, and groups that choose by SQL92. */
export const sqlFiltered: MessageKind = {
  name: "sql",
  plan(number, randomness) {
    const groups = Array.from({ length: 1 + randomIndex(randomness, 2) }, (_, i) => {
      const [filter, accepts] = filters[randomIndex(randomness, filters.length)]!;
      const passes = ({ properties = {} }: { readonly properties?: Properties }): boolean => accepts(properties);
      return planGroup(`sql-${number}-${i}`, randomness, { filterType: 2, filter, passes });
    });
    return planTopic(number, randomness, sqlFiltered, groups);
  },
  compose(id, bodyBytes, randomness) {
    const properties: Record<string, string> = {};
    if (randomness.fraction() < 0.8) properties["amount"] = `${randomIndex(randomness, 100)}`;
    if (randomness.fraction() < 0.7) properties["region"] = ["eu", "us", "ap"][randomIndex(randomness, 3)]!;
    return { bytes: encodeMessage(id, bodyBytes, {}, properties), seen: { properties } };
  },
};

function between(value: string | undefined, least: number, most: number): boolean {
  return value !== undefined && Number(value) >= least && Number(value) <= most;
}
