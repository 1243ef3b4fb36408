/**
 * What a filter costs per message: `node dist/test/bench/filter.js`. First evaluations alone, for a stored message of 1 KiB with
 * five properties, as times and as multiples of reading its properties; then whole scans of a broker's queue by tag and by
 * SQL92, in messages per second, beside a scan that takes everything.
 */
import { apache } from "#codec/rocketmq-v2";
import { SqlFilter } from "../../proto/filter/sql-filter.ts";
import { BrokerFixture } from "../support/broker-fixture.ts";

const rounds = 9;
const perRound = 40_000;

const message = Buffer.from(
  apache.rocketmq.v2.Message.encode({
    topic: { resourceNamespace: "default", name: "orders" },
    userProperties: { region: "eu", amount: "120", customer: "c-81723", note: "n".repeat(200), weight: "1.25" },
    systemProperties: { tag: "created", keys: ["order-1234567"], messageId: "01F4D9A1B2C3D4E5F60718293A4B5C6D7E" },
    body: Buffer.alloc(1024, 0x61),
  }).finish(),
);

const expressions: readonly (readonly [what: string, expression: string])[] = [
  ["nothing (properties read)", "TRUE OR region IS NULL"],
  ["text =", "region = 'eu'"],
  ["int32 >", "amount > 100"],
  ["double >", "weight > 1.5"],
  ["AND of three", "amount > 100 AND region IN ('eu', 'us') AND customer IS NOT NULL"],
  ["CONTAINS in 200 bytes", "note CONTAINS 'nnnnnx'"],
  ["a system property", "TAGS = 'created'"],
  ["64 comparisons", Array.from({ length: 64 }, () => "amount < 100").join(" OR ")],
];

function nanosOf(filter: SqlFilter): number {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    for (let i = 0; i < perRound; i++) filter.matchesMessage(message, 0, message.length);
    samples.push(((performance.now() - started) * 1e6) / perRound);
  }
  return samples.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
}

/** Single evaluations by the clock, in microseconds: of these a high percentile has a meaning. */
function percentiles(filter: SqlFilter): { readonly p50: number; readonly p99: number } {
  const samples = Float64Array.from({ length: 100_000 }, () => {
    const started = process.hrtime.bigint();
    filter.matchesMessage(message, 0, message.length);
    return Number(process.hrtime.bigint() - started) / 1_000;
  }).sort();
  return { p50: samples[50_000] ?? 0, p99: samples[99_000] ?? 0 };
}

console.log("evaluation of one stored message      ns   x properties     p50 us   p99 us");
let properties = 0;
for (const [what, expression] of expressions) {
  const filter = new SqlFilter(expression);
  nanosOf(filter);
  const nanos = nanosOf(filter);
  properties ||= nanos;
  const { p50, p99 } = percentiles(filter);
  console.log(
    `  ${what.padEnd(32)}${nanos.toFixed(0).padStart(6)}${(nanos / properties).toFixed(1).padStart(15)}` +
      `${p50.toFixed(2).padStart(11)}${p99.toFixed(2).padStart(9)}`,
  );
}

const longest = `${"a".repeat(50)} IN (${Array.from({ length: 128 }, (_, i) => `'${i}'`).join(",")})`;
const compile = (expression: string): number => {
  const started = performance.now();
  for (let i = 0; i < 2_000; i++) new SqlFilter(expression);
  return ((performance.now() - started) * 1_000) / 2_000;
};
compile(longest);
console.log(
  `compiling: ${compile("amount > 100 AND region IN ('eu', 'us')").toFixed(1)} us, longest ${compile(longest).toFixed(1)} us`,
);

/** Messages per second that one receive looks at until it finds the last one. */
function scanRate(filterType: number, filter: string): number {
  const f = new BrokerFixture({ groupStart: "beginning" });
  const topic = f.topic("ns/orders");
  f.isAutoSync = false;
  const count = 60_000;
  for (let i = 0; i < count; i++)
    f.send(topic, { tag: i % 2 === 0 ? "a" : "b", properties: { amount: String(i % 100) } });
  f.send(topic, { id: "last", tag: "last", properties: { amount: "500" } });
  f.sync();
  f.isAutoSync = true;
  const { ticket } = f.ask(topic, f.group(), { filterType, filter, waitMs: 100_000 });
  const started = performance.now();
  while (!f.answers.has(ticket)) f.state.advance(f.now);
  return count / ((performance.now() - started) / 1_000);
}

const scans = [
  ["by tag, hash says no", 1, "last"],
  ["by SQL92", 2, "amount > 400"],
  ["by SQL92, three conditions", 2, "amount > 400 AND amount < 600 AND TAGS IN ('last', 'first')"],
] as const;
console.log("scan of a queue                 messages/s");
for (const [what, type, filter] of scans) {
  const rates = Array.from({ length: 5 }, () => scanRate(type, filter)).sort((a, b) => a - b);
  console.log(
    `  ${what.padEnd(30)}${Math.round(rates[2] ?? 0)
      .toString()
      .padStart(10)}`,
  );
}
