import assert from "node:assert/strict";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";
import { NameTable } from "../../../../broker-core/topic/name-table.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { testSeed } from "../../../support/test-seed.ts";

describe("names", () => {
  it("say how the part behind the last slash begins", () => {
    const names = new NameTable();
    const begin = Buffer.from("%DLQ%");
    const all = {
      "ns/%DLQ%g": true,
      "%DLQ%g": true,
      "%DLQ%/g": false,
      "a/b/%DLQ%": true,
      "ns/DLQ": false,
      "%DLQ": false,
    };
    for (const [number, name] of Object.keys(all).entries()) names.set(number, name);
    for (const [number, isSo] of Object.values(all).entries()) assert.equal(names.lastPartBegins(number, begin), isSo);
  });

  it("are found by their bytes, whatever came and went before, also after an image", () => {
    const randomness = new SeededRandomness(testSeed);
    let names = new NameTable();
    const model = new Map<number, string>();
    const numbers = new Map<string, number>();
    for (let step = 0; step < 60_000; step++) {
      const number = randomIndex(randomness, 8_000);
      const known = model.get(number);
      if (known !== undefined) {
        names.remove(number);
        model.delete(number);
        numbers.delete(known);
        assert.equal(names.find(known), -1, `${known} was removed (seed ${testSeed})`);
        continue;
      }
      // Long and short, of one and of several bytes a character: chunks end in all sorts of places.
      const name = `ns${randomIndex(randomness, 3)}/${"ä".repeat(randomIndex(randomness, 110))}${step}`;
      assert.equal(names.find(name), -1);
      names.set(number, name);
      model.set(number, name);
      numbers.set(name, number);
      if (step % 20_000 !== 19_999) continue;
      const image = new ImageWriter();
      names.writeTo(image, 8_000);
      names = new NameTable();
      names.readFrom(new ImageReader(image.bytes()), 8_000);
    }
    assert.ok(model.size > 3_000);
    for (const [number, name] of model) {
      assert.equal(names.text(number), name);
      for (const prefix of ["ää", "1", ""]) {
        const isSo = name.slice(name.lastIndexOf("/") + 1).startsWith(prefix);
        assert.equal(names.lastPartBegins(number, Buffer.from(prefix)), isSo, `${name}: ${prefix}`);
      }
      assert.equal(names.find(name), number, `${name} (seed ${testSeed})`);
      assert.equal(names.find(`${name}0`), -1);
    }
  });

  it("have at most 255 bytes, and a longer one is nobody's", () => {
    const names = new NameTable();
    names.set(0, "x".repeat(255));
    assert.equal(names.find("x".repeat(255)), 0);
    assert.equal(names.find("x".repeat(256)), -1);
    assert.equal(names.find("x".repeat(100_000)), -1);
    assert.equal(names.find(`${"x".repeat(253)}€`), -1);
    assert.throws(() => names.set(1, "x".repeat(256)), RangeError);
  });

  it("give the room of removed names back", () => {
    const names = new NameTable();
    const name = (n: number) => `${"n".repeat(200)}${n}`;
    names.set(0, "kept");
    for (let n = 0; n < 100_000; n++) {
      names.set(1, name(n));
      names.remove(1);
    }
    const image = new ImageWriter();
    names.writeTo(image, 2);
    assert.ok(image.bytes().length < 4 * 1024 * 1024, "20 MB of names came and went");
    assert.equal(names.find("kept"), 0);
  });
});
