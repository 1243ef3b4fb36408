import assert from "node:assert/strict";
import { HpackDecoder } from "../../../../../sidecar/listener/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../../../sidecar/listener/http2/hpack-encoder.ts";

type Field = readonly [name: string, value: string, isRepeated?: boolean];

function encode(encoder: HpackEncoder, fields: readonly Field[]): Buffer {
  const into = Buffer.alloc(65_536);
  let at = encoder.begin(into, 0);
  for (const [name, value, isRepeated] of fields) at = encoder.field(into, at, name, value, isRepeated);
  return into.subarray(0, at);
}

function decode(decoder: HpackDecoder, block: Buffer): string[] {
  assert.ok(decoder.decode(block, 0, block.length), `not decodable: ${block.toString("hex")}`);
  return decoder.fields.map((field) => `${field.name.text}: ${field.value}`);
}

const head: readonly Field[] = [
  [":status", "200"],
  ["content-type", "application/grpc", true],
  ["grpc-status", "0", true],
];

describe("HPACK encoder", () => {
  it("writes one byte per field once the peer's table holds them", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    const expected = [":status: 200", "content-type: application/grpc", "grpc-status: 0"];
    assert.deepEqual(decode(decoder, encode(encoder, head)), expected);
    const { version } = encoder;
    const second = encode(encoder, head);
    assert.equal(second.length, 3);
    assert.equal(encoder.version, version);
    assert.deepEqual(decode(decoder, second), expected);
  });

  it("uses literals alone for a peer without a table, and says so first", () => {
    const encoder = new HpackEncoder();
    encoder.setTableBytes(0);
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    const block = encode(encoder, head);
    assert.equal(block[0], 0x20);
    assert.equal(decode(decoder, block).length, 3);
    assert.equal(decoder.tableBytes, 0);
    assert.notEqual(encode(encoder, head)[0], 0x20);
  });

  it("announces the smallest and the last size when the peer changed it twice", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    decode(decoder, encode(encoder, head));
    encoder.setTableBytes(0);
    encoder.setTableBytes(100);
    const block = encode(encoder, [["grpc-status", "0", true]]);
    assert.equal(block.subarray(0, 3).toString("hex"), "203f45");
    assert.deepEqual(decode(decoder, block), ["grpc-status: 0"]);
    assert.equal(decoder.tableBytes, 44);
  });

  it("drops its oldest entries as the peer does", () => {
    const encoder = new HpackEncoder();
    encoder.setTableBytes(120);
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    for (let i = 0; i < 50; i++) {
      const fields: Field[] = [
        [`name-${i % 7}`, `value-${i % 3}`, true],
        ["plain", String(i)],
      ];
      assert.deepEqual(decode(decoder, encode(encoder, fields)), [`name-${i % 7}: value-${i % 3}`, `plain: ${i}`]);
    }
  });

  it("chooses Huffman code only where it is shorter, and writes long values whole", () => {
    const decoder = new HpackDecoder(4096, 1 << 20, 100);
    for (const value of [
      "",
      "~~~~",
      "\xff\xfe",
      "a".repeat(127),
      "b".repeat(128),
      "c".repeat(20_000),
      "^".repeat(300),
    ]) {
      const block = encode(new HpackEncoder(), [["x", value]]);
      assert.deepEqual(decode(decoder, block), [`x: ${value}`]);
      assert.ok(block.length <= value.length + 8);
    }
  });
});
