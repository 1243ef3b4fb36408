import { randomBytes } from "node:crypto";
import type { Randomness } from "./randomness.ts";

/** The machine's own source of chance. */
export class NodeRandomness implements Randomness {
  fraction(): number {
    return Math.random();
  }

  uint32(): number {
    return randomBytes(4).readUInt32BE(0);
  }

  bytes(count: number): Buffer {
    return randomBytes(count);
  }
}
