import { strict as assert } from "node:assert";
import { createHmac } from "node:crypto";

/**
 * HMAC-SHA256 (RFC 2104, FIPS 180-4) for short messages. The platform's own costs 4-6 us for the 40 bytes of a receipt, all
 * of it setting up objects; every delivery and every ack pays it. With the key's two blocks hashed once, a MAC is two
 * compressions, 1 us. Each instance checks itself against the platform's before it is used.
 *
 * No branch and no index depends on the message or the key.
 */
export class ReceiptMac {
  /** State after the block of the inner and the outer key. */
  readonly #inner = new Int32Array(8);
  readonly #outer = new Int32Array(8);
  readonly #state = new Int32Array(8);

  /** `key`: at most 64 bytes. */
  constructor(key: Buffer) {
    assert(key.length <= blockBytes, "a receipt key has at most 64 bytes");
    for (const [state, pad] of [
      [this.#inner, 0x36],
      [this.#outer, 0x5c],
    ] as const) {
      const block = Buffer.alloc(blockBytes, pad);
      for (let i = 0; i < key.length; i++) block[i] = pad ^ key[i]!;
      state.set(initialState);
      loadWords(block, 0, blockBytes);
      compress(state);
    }
    for (const length of [0, 1, 40, 55, 56, 63, 64, 65, 119, 120, messageBytesMax]) {
      const message = Buffer.from(Array.from({ length }, (_, i) => (i * 89) & 0xff));
      const mac = Buffer.alloc(macBytes);
      this.write(message, length, mac, 0);
      assert(createHmac("sha256", key).update(message).digest().equals(mac), "the receipt MAC is no HMAC-SHA256");
    }
  }

  /** Writes the 32 bytes of the MAC of `message[0, length)`, at most 311 bytes. */
  write(message: Buffer, length: number, into: Buffer, at: number): void {
    const w = schedule;
    const state = this.#state;
    copyState(this.#inner, state);
    loadWords(message, 0, length);
    // Behind the message stand a one and the length, in nine bytes.
    for (let from = blockBytes; from < length + 9; from += blockBytes) {
      compress(state);
      loadWords(message, from, length);
    }
    w[15] = (blockBytes + length) * 8;
    compress(state);

    copyState(state, w);
    w[8] = 0x8000_0000;
    for (let i = 9; i < 15; i++) w[i] = 0;
    w[15] = (blockBytes + macBytes) * 8;
    copyState(this.#outer, state);
    compress(state);
    for (let i = 0; i < 8; i++, at += 4) {
      const word = state[i]!;
      into[at] = word >>> 24;
      into[at + 1] = word >>> 16;
      into[at + 2] = word >>> 8;
      into[at + 3] = word;
    }
  }
}

const blockBytes = 64;
const macBytes = 32;
/** A receipt takes two; a recall handle, with the longest message id in it, five. */
const blocksMax = 5;
/** What the blocks hold beside the mark and the length. */
const messageBytesMax = blocksMax * blockBytes - 9;

/** The 64 words of a block that is being hashed, of which the first 16 are its bytes. */
const schedule = new Int32Array(64);

/** `message[from, from + 64)` as the words of a block: behind `length` a one and zeros, as FIPS 180-4 pads. */
function loadWords(message: Buffer, from: number, length: number): void {
  const w = schedule;
  for (let i = 0, at = from; i < 16; i++, at += 4) {
    const left = length - at;
    if (left >= 4) {
      w[i] = (message[at]! << 24) | (message[at + 1]! << 16) | (message[at + 2]! << 8) | message[at + 3]!;
    } else {
      w[i] = left < 0 ? 0 : lastWord(message, at, left);
    }
  }
}

/** The `left` last bytes, 0 to 3, and the one behind them. */
function lastWord(message: Buffer, at: number, left: number): number {
  let word = 0x80 << (24 - 8 * left);
  for (let i = 0; i < left; i++) word |= message[at + i]! << (24 - 8 * i);
  return word;
}

/** A loop: `set` of a typed array costs more than eight numbers. */
function copyState(from: Int32Array, to: Int32Array): void {
  for (let i = 0; i < 8; i++) to[i] = from[i]!;
}

/** First 32 bits of the fractional parts of the square roots of the first 8 primes, and the cube roots of the first 64. */
const primes = firstPrimes(64);
const initialState = Int32Array.from(primes.slice(0, 8), (prime) => fraction(prime ** (1 / 2)));
const constants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));

function firstPrimes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

function fraction(root: number): number {
  return ((root - Math.floor(root)) * 0x1_0000_0000) | 0;
}

/** Hashes the block whose words are in `schedule`. */
function compress(state: Int32Array): void {
  const w = schedule;
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!;
    const y = w[i - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + constants[i]! + w[i]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
  state[4] = state[4]! + e;
  state[5] = state[5]! + f;
  state[6] = state[6]! + g;
  state[7] = state[7]! + h;
}
