import assert from "node:assert/strict";
import {
  compareDoubles,
  halvesOf,
  read,
  readDouble,
  readInt32,
  readInt64,
} from "../../../../proto/filter/number-text.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { testSeed, withSeed } from "../../../support/test-seed.ts";

type Reader = (bytes: Buffer, start: number, end: number) => boolean;

/** Read from the middle of other digits, so that a reader that looks beyond its range is seen. */
function within(reader: Reader, text: string): boolean {
  const bytes = Buffer.from(`7${text}7`);
  return reader(bytes, 1, bytes.length - 1);
}

const int32 = (text: string): number | undefined => (within(readInt32, text) ? read.value[0] : undefined);
const int64 = (text: string): bigint | undefined =>
  within(readInt64, text) ? BigInt(read.hi) * 1_000_000_000n + BigInt(read.lo) : undefined;
const double = (text: string): number | undefined => (within(readDouble, text) ? read.value[0] : undefined);

describe("numbers in property values", () => {
  it("int32: a sign or none, digits, within 32 bits", () => {
    for (const [text, value] of [
      ["0", 0],
      ["-0", -0],
      ["+5", 5],
      ["007", 7],
      ["2147483647", 2_147_483_647],
      ["-2147483648", -2_147_483_648],
      [`${"0".repeat(100)}1`, 1],
    ] as const) {
      assert.equal(int32(text), value, text);
    }
    for (const text of [
      "",
      "+",
      "-",
      "2147483648",
      "-2147483649",
      "1.0",
      "1e3",
      " 1",
      "1 ",
      "--1",
      "1L",
      "9".repeat(400),
    ]) {
      assert.equal(int32(text), undefined, text);
    }
  });

  it("int64: the same within 64 bits, to the last digit", () => {
    for (const text of [
      "0",
      "999999999",
      "1000000000",
      "-1000000001",
      "9007199254740993",
      "9223372036854775807",
      "-9223372036854775808",
      "-9223372036854775807",
    ]) {
      assert.equal(int64(text), BigInt(text), text);
      const { hi, lo } = halvesOf(BigInt(text));
      assert.deepEqual([hi + 0, lo + 0], [read.hi + 0, read.lo + 0], `the constant ${text}`);
    }
    assert.equal(int64(`${"0".repeat(100)}12`), 12n);
    for (const text of ["", "-", "9223372036854775808", "-9223372036854775809", "1.0", "9".repeat(400)]) {
      assert.equal(int64(text), undefined, text);
    }
  });

  it("doubles as Java reads them", () => {
    for (const [text, value] of [
      ["0", 0],
      ["-0.0", -0],
      ["5.", 5],
      [".5", 0.5],
      ["+1.5e3", 1_500],
      ["1E-2", 0.01],
      [" \t1.5\n ", 1.5],
      ["1.5f", 1.5],
      ["1.5D", 1.5],
      ["NaN", Number.NaN],
      ["-NaN", Number.NaN],
      ["Infinity", Number.POSITIVE_INFINITY],
      ["-Infinity", Number.NEGATIVE_INFINITY],
      ["1e400", Number.POSITIVE_INFINITY],
      ["-1e400", Number.NEGATIVE_INFINITY],
      ["1e-400", 0],
      ["1e99999999999", Number.POSITIVE_INFINITY],
      ["123456789012345678901234567890", 1.2345678901234568e29],
      ["0.1000000000000000055511151231257827", 0.1],
      [`0.${"0".repeat(400)}1e401`, 1],
    ] as const) {
      assert.equal(double(text), value, text);
    }
    for (const text of [
      "",
      " ",
      ".",
      "+",
      "-",
      "e5",
      "5e",
      "5e+",
      "1.2.3",
      "1_0",
      "0x10",
      "1,5",
      "nan",
      "f",
      "1ff",
      "--1",
      "1 1",
    ]) {
      assert.equal(double(text), undefined, text);
    }
  });

  it("doubles are the nearest ones, whichever way they are written", () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const bytes = Buffer.alloc(8);
      for (let i = 0; i < 20_000; i++) {
        bytes.writeUInt32LE(randomness.uint32(), 0);
        bytes.writeUInt32LE(randomness.uint32(), 4);
        const any = bytes.readDoubleLE();
        const value = i % 2 === 0 ? any : Math.round(randomness.fraction() * 1e9) / 1e4;
        if (!Number.isFinite(value)) continue;
        for (const text of [String(value), value.toExponential(), value.toPrecision(17)]) {
          assert.equal(double(text), Number(text), text);
        }
      }
    }, testSeed);
  });

  it("doubles are ordered as in Java", () => {
    const ordered = [Number.NEGATIVE_INFINITY, -1, -0, 0, 1, Number.POSITIVE_INFINITY, Number.NaN];
    ordered.forEach((a, i) => {
      ordered.forEach((b, j) => {
        assert.equal(compareDoubles(a, b), Math.sign(i - j), `${a} and ${b}`);
      });
    });
  });
});
