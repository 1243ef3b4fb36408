import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import {
  beginReading,
  next,
  readBool,
  readInt32,
  readInt64,
  readUint32,
  readUint64,
  varintBytes,
  writeInt32,
  writeVarint,
} from "../../../../proto/codec/wire.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";
import { codecPairs } from "../../../support/codec-pairs.ts";

const reads = { readUint32, readInt32, readUint64, readInt64, readBool };

/** What no message of any type may hold, whether the schema names the field or not. */
const hostile: Record<string, string> = {
  "a group": "fb3efc3e",
  "the end of a group": "fc3e",
  "wire type 6": "fe3e00",
  "wire type 7": "ff3e00",
  "field 0": "0000",
  "field 0 in a long tag": "828000",
  "a tag of 33 bits": "f8ffffff1f00",
  "a tag without end": "ffffffffff01",
  "half a tag": "f8",
  "a number of 11 bytes": "f83effffffffffffffffffff01",
  "half a number": "f83e80",
  "no number": "f83e",
  "half a fixed64": "f93e00000000000000",
  "half a fixed32": "fd3e000000",
  "a length over the end": "fa3e0500000000",
  "a length of -1": "fa3effffffffffffffffff01",
  "a length of -1 in 32 bits": "fa3effffffff0f",
  "a length of 2^31": "fa3e8080808008",
  "a length of 2^31-1": "fa3effffffff07",
  "half a length": "fa3e80",
};

describe("the wire format", () => {
  for (const pair of codecPairs) {
    it(`is refused in ${pair.typeName} when it is broken, by both codecs`, () => {
      for (const [what, hex] of Object.entries(hostile)) {
        const bytes = Buffer.from(hex, "hex");
        refused(what, () => pair.general(bytes));
        refused(what, () => pair.hot(bytes, 0, bytes.length));
        // Not the end of the buffer but the end of the message counts.
        const around = Buffer.concat([bytes, Buffer.alloc(16)]);
        refused(`${what}, bytes behind it`, () => pair.hot(around, 0, bytes.length));
      }
    });
  }

  it("holds numbers of up to 64 bits", () => {
    const numbers = [
      0,
      1,
      127,
      128,
      16_383,
      16_384,
      2 ** 21,
      2 ** 28 - 1,
      2 ** 28,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 35 - 1,
    ];
    for (const value of [...numbers, 2 ** 35, 2 ** 42, 2 ** 49, Number.MAX_SAFE_INTEGER]) {
      const bytes = Buffer.alloc(12, 0xa5);
      const end = writeVarint(bytes, 1, value);
      assert.equal(end - 1, varintBytes(value), String(value));
      assert.equal(readUint64(bytes, 1, end), value);
      assert.equal(next, end);
      assert.equal(readInt64(bytes, 1, end), value);
      assert.equal(readUint32(bytes, 1, end), Number(BigInt.asUintN(32, BigInt(value))));
      assert.equal(readInt32(bytes, 1, end), Number(BigInt.asIntN(32, BigInt(value))));
      assert.equal(readBool(bytes, 1, end), value !== 0);
    }
    for (const value of [-1, -2, -128, -(2 ** 31)]) {
      const bytes = Buffer.alloc(12, 0xa5);
      const end = writeInt32(bytes, 1, value);
      assert.equal(end, 11);
      assert.equal(readInt32(bytes, 1, end), value);
      assert.equal(readInt64(bytes, 1, end), value);
    }
  });

  it("rounds numbers beyond 2^53 once, as BigInt does", () => {
    for (const value of [
      2n ** 53n + 1n,
      2n ** 60n + 12_345n,
      2n ** 63n - 1n,
      2n ** 64n - 1n,
      -(2n ** 60n) - 77n,
      -(2n ** 63n),
    ]) {
      const bytes = bigVarint(value);
      assert.equal(readUint64(bytes, 0, bytes.length), Number(BigInt.asUintN(64, value)));
      assert.equal(readInt64(bytes, 0, bytes.length), Number(BigInt.asIntN(64, value)));
    }
  });

  it("refuses numbers that do not end", () => {
    beginReading();
    for (const [name, read] of Object.entries(reads)) {
      refused(name, () => read(Buffer.alloc(10, 0x80), 0, 10));
      refused(name, () => read(Buffer.alloc(11, 0x80), 0, 11));
      refused(name, () => read(Buffer.from([0x80, 0x00]), 0, 1));
      refused(name, () => read(Buffer.from([0x00]), 0, 0));
    }
  });
});

function bigVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    if (rest <= 0x7fn) return Buffer.from(bytes);
  }
}

function refused(what: string, read: () => void): void {
  assert.throws(read, (error) => error instanceof MeshError && error.code === Code.BadRequest, what);
}
