import assert from "node:assert/strict";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { type CodecPair, codecPairs } from "../support/codec-pairs.ts";
import { mutated } from "../support/mutated-bytes.ts";
import { randomMessage } from "../support/random-message.ts";
import { loadSchema, protoFolder } from "../support/schema.ts";
import { withSeed } from "../support/test-seed.ts";
import { encodeVariant } from "../support/wire-variants.ts";

const runs = 1500;

describe("the hot readers", () => {
  const schemas = [loadSchema(protoFolder, "apache"), loadSchema(protoFolder, "popmesh")];

  for (const pair of codecPairs) {
    const type = (pair.typeName.startsWith("apache") ? schemas[0] : schemas[1])?.lookupType(pair.typeName);
    assert.ok(type);

    it(`read ${pair.typeName} as the general codec does, however it is written`, () => {
      everyRun((randomness) => {
        const bytes = encodeVariant(type, randomMessage(type, randomness), randomness, { pieces: true });
        assert.deepEqual(hotWithin(pair, bytes, randomness), pair.general(bytes), bytes.toString("hex"));
      });
    });

    it(`accept and refuse a damaged ${pair.typeName} as the general codec does`, () => {
      let accepted = 0;
      let refused = 0;
      everyRun((randomness) => {
        const whole = encodeVariant(type, randomMessage(type, randomness), randomness, { pieces: true });
        const bytes = mutated(whole, randomness);
        const general = outcome(() => pair.general(bytes));
        const hot = outcome(() => hotWithin(pair, bytes, randomness));
        if (general.value !== undefined) accepted++;
        else refused++;
        if (general.value === undefined && pair.isLazy) return;
        assert.deepEqual(hot.value, general.value, `${bytes.toString("hex")} (${general.error ?? hot.error})`);
      });
      assert.ok(accepted > runs / 20 && refused > runs / 20, `accepted ${accepted}, refused ${refused} of ${runs}`);
    });
  }
});

function everyRun(check: (randomness: Randomness) => void): void {
  withSeed((seed) => {
    const randomness = new SeededRandomness(seed);
    for (let i = 0; i < runs; i++) check(randomness);
  });
}

/** Reads the bytes in the midst of a larger buffer, where a read across either border meets garbage. */
function hotWithin(pair: CodecPair, bytes: Buffer, randomness: Randomness): unknown {
  const before = randomIndex(randomness, 12);
  const surrounded = Buffer.concat([randomness.bytes(before), bytes, Buffer.alloc(16, 0x0a)]);
  return pair.hot(surrounded, before, before + bytes.length);
}

/** Anything but a MeshError is a crash. */
function outcome(read: () => unknown): { value?: unknown; error?: string } {
  try {
    return { value: read() };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { error: error.message };
  }
}
