import { ReceiptMac } from "./receipt-mac.ts";

/**
 * What a text is, seen as one of ours. "foreign": of another broker; "malformed": of no broker; "forged": the seal is not ours
 * or does not match.
 */
export type SealKind = "ours" | "foreign" | "malformed" | "forged";

const macBytes = 12;
export const brokerNameBytesMax = 63;
/** Below this a guess at the key would be thinkable. */
const keyBytesMin = 16;

const alphabet = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const digitOf = new Uint8Array(256).fill(255);
for (let i = 0; i < alphabet.length; i++) digitOf[alphabet[i]!] = i;

/**
 * Texts that clients hold for a broker and that say by themselves what they are worth (receipts, transaction ids):
 * "<broker name>.<base64url of the sealed part>", the name in the clear so that any sidecar finds the broker. The sealed part
 * ends with 12 bytes of HMAC-SHA256 over what stands before. Its first byte names what it is, so one kind is never taken for
 * another. Reuses its buffers: not reentrant, results are views.
 */
export class TextSealer {
  /** The sealed part: filled before `seal`, read after `open`. */
  readonly part: Buffer;
  readonly #mac: ReceiptMac;
  readonly #macBytes = Buffer.alloc(32);
  /** "<broker name>." */
  readonly #prefix: Buffer;
  readonly #text: Buffer;

  /** `key`: 16 to 64 bytes, kept with the broker's data. `brokerName`: at most 63 bytes. `bytesMax`: without the seal. */
  constructor(brokerName: string, key: Buffer, bytesMax: number) {
    if (key.length < keyBytesMin) throw new Error(`the receipt key has ${key.length} bytes; at least ${keyBytesMin}`);
    this.#mac = new ReceiptMac(key);
    this.#prefix = Buffer.from(`${brokerName}.`);
    if (this.#prefix.length > brokerNameBytesMax + 1) {
      throw new Error(`the broker name "${brokerName}" exceeds ${brokerNameBytesMax} bytes`);
    }
    this.part = Buffer.alloc(bytesMax + macBytes);
    this.#text = Buffer.alloc(this.#prefix.length + Math.ceil((this.part.length * 4) / 3));
    this.#prefix.copy(this.#text);
  }

  /** Seals `part[0, end)`: the text's ASCII bytes, a view that is valid until the next call. */
  seal(end: number): Buffer {
    const part = this.part;
    this.#mac.write(part, end, this.#macBytes, 0);
    for (let i = 0; i < macBytes; i++) part[end + i] = this.#macBytes[i]!;
    return this.#text.subarray(0, encodeBase64url(part, end + macBytes, this.#text, this.#prefix.length));
  }

  /** Reads a text into `part` and returns the bytes that stand before the seal, unproved; -1: foreign, -2: malformed. */
  read(text: Uint8Array): number {
    const prefix = this.#prefix;
    for (let i = 0; i < prefix.length; i++) {
      if (text[i] !== prefix[i]) return text.includes(0x2e) ? foreign : malformed;
    }
    const length = decodeBase64url(text, prefix.length, this.part);
    return length < macBytes ? malformed : length - macBytes;
  }

  /** Whether the seal behind `part[0, end)` is ours. */
  proves(end: number): boolean {
    const part = this.part;
    this.#mac.write(part, end, this.#macBytes, 0);
    // All bytes are looked at, whatever they are: how long it takes tells nothing. The platform's function wants two views.
    let difference = 0;
    for (let i = 0; i < macBytes; i++) difference |= this.#macBytes[i]! ^ part[end + i]!;
    return difference === 0;
  }
}

export const foreign = -1;
export const malformed = -2;

/** Writes base64url without padding and returns the offset behind it. */
function encodeBase64url(from: Buffer, length: number, into: Buffer, start: number): number {
  let at = start;
  for (let i = 0; i < length; i += 3) {
    const group = (from[i]! << 16) | ((i + 1 < length ? from[i + 1]! : 0) << 8) | (i + 2 < length ? from[i + 2]! : 0);
    into[at++] = alphabet[group >>> 18]!;
    into[at++] = alphabet[(group >>> 12) & 63]!;
    if (i + 1 < length) into[at++] = alphabet[(group >>> 6) & 63]!;
    if (i + 2 < length) into[at++] = alphabet[group & 63]!;
  }
  return at;
}

/** Reads base64url from `start` to the end; returns the number of bytes, -1 when it is none or would not fit. */
function decodeBase64url(text: Uint8Array, start: number, into: Buffer): number {
  const digits = text.length - start;
  const length = Math.floor((digits * 3) / 4);
  if (digits % 4 === 1 || length > into.length) return -1;
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = start; i < text.length; i++) {
    const digit = digitOf[text[i]!]!;
    if (digit === 255) return -1;
    held = (held << 6) | digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      into[at++] = (held >>> bits) & 0xff;
      held &= (1 << bits) - 1;
    }
  }
  // One text per receipt: the bits left over must be zero.
  return held === 0 ? at : -1;
}
