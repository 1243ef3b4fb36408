import assert from "node:assert/strict";
import { cachedText, copyBytes, isUtf8, readText, textBytes, writeText } from "../../../../proto/codec/text.ts";
import fc from "../../../support/seeded-fast-check.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const parameters = { numRuns: 2000 };

/** Bytes that are nearly text: whole characters, and the bytes at the borders of what UTF-8 allows. */
const nearlyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 3 }).map((text) => Buffer.from(text)),
      fc
        .constantFrom(
          0x00,
          0x7f,
          0x80,
          0x8f,
          0x90,
          0x9f,
          0xa0,
          0xbf,
          0xc0,
          0xc1,
          0xc2,
          0xdf,
          0xe0,
          0xed,
          0xef,
          0xf0,
          0xf4,
          0xf5,
          0xff,
        )
        .map((byte) => Buffer.from([byte])),
    ),
    { maxLength: 8 },
  )
  .map((parts) => Buffer.concat(parts));
const anyText = fc.string({ unit: "binary", maxLength: 100 });

describe("text in messages", () => {
  it("is UTF-8 exactly when a strict decoder takes it", () => {
    fc.assert(
      fc.property(nearlyText, (bytes) => {
        let isStrict = true;
        try {
          strict.decode(bytes);
        } catch {
          isStrict = false;
        }
        const around = Buffer.concat([Buffer.from([0xc3]), bytes, Buffer.from([0xa4])]);
        assert.equal(isUtf8(around, 1, around.length - 1), isStrict);
      }),
      parameters,
    );
  });

  it("is read and written as Node does it", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const bytes = Buffer.from(text);
        assert.equal(textBytes(text), bytes.length);
        const into = Buffer.alloc(bytes.length + 2, 0xa5);
        assert.equal(writeText(into, 1, text), 1 + bytes.length);
        assert.deepEqual(into, Buffer.concat([Buffer.from([0xa5]), bytes, Buffer.from([0xa5])]));
        assert.equal(readText(into, 1, 1 + bytes.length), bytes.toString());
      }),
      parameters,
    );
  });

  it("is the same from the cache, also where two texts want the same slot", () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 40 }), (texts) => {
        for (const text of [...texts, ...texts]) {
          const bytes = Buffer.from(text);
          assert.equal(cachedText(bytes, 0, bytes.length), bytes.toString());
        }
      }),
      { ...parameters, numRuns: 200 },
    );
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(`topic-${i % 5000}`);
      assert.equal(cachedText(bytes, 0, bytes.length), `topic-${i % 5000}`);
    }
  });

  it("is copied whole, short or long", () => {
    for (const length of [0, 1, 63, 64, 65, 5000]) {
      const from = Buffer.alloc(length + 2, 0x11);
      const into = Buffer.alloc(length + 4, 0xa5);
      assert.equal(copyBytes(from, 1, 1 + length, into, 2), 2 + length);
      assert.deepEqual(into, Buffer.concat([Buffer.alloc(2, 0xa5), Buffer.alloc(length, 0x11), Buffer.alloc(2, 0xa5)]));
    }
  });
});
