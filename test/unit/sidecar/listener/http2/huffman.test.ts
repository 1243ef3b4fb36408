import assert from "node:assert/strict";
import {
  huffmanDecode,
  huffmanDecodedBytesMax,
  huffmanEncode,
  huffmanEncodedBytes,
} from "../../../../../sidecar/listener/http2/huffman.ts";

function decode(hex: string): string | undefined {
  const bytes = Buffer.from(hex, "hex");
  const into = Buffer.alloc(huffmanDecodedBytesMax(bytes.length));
  const end = huffmanDecode(bytes, 0, bytes.length, into, 0);
  return end < 0 ? undefined : into.toString("latin1", 0, end);
}

function encode(text: string): string {
  const into = Buffer.alloc(huffmanEncodedBytes(text));
  assert.equal(huffmanEncode(text, into, 0), into.length);
  return into.toString("hex");
}

describe("Huffman code of HPACK", () => {
  const examples: readonly (readonly [string, string])[] = [
    ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
    ["no-cache", "a8eb10649cbf"],
    ["custom-value", "25a849e95bb8e8b4bf"],
    ["302", "6402"],
    ["Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"],
    ["https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"],
  ];
  for (const [text, hex] of examples) {
    it(`codes "${text}" as RFC 7541 appendix C does`, () => {
      assert.equal(encode(text), hex);
      assert.equal(decode(hex), text);
    });
  }

  it("decodes what it encodes, for every byte alone, doubled and beside every other", () => {
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b++) {
        const text = String.fromCharCode(a, b, a);
        assert.equal(decode(encode(text)), text);
      }
    }
  });

  it("refuses padding of eight bits or more, padding of zeros, and the end-of-string symbol", () => {
    const a = encode("a"); // 00011 and three ones
    assert.equal(decode(a), "a");
    assert.equal(decode(`${a}ff`), undefined);
    assert.equal(decode("18"), undefined);
    assert.equal(decode("ff"), undefined);
    assert.equal(decode("ffffffff"), undefined);
    assert.equal(decode("fffffffc"), undefined);
  });
});
