import { timingSafeEqual } from "node:crypto";
import { ReceiptMac } from "./receipt-mac.ts";

/**
 * Receipt handles (proto/receipt-handle.ts): "<broker name>.<base64url of the sealed part>". The sealed part, big-endian:
 *
 *     0  u8  version (1)
 *     1  u32 topic id      ids are never used again, so it names the topic's incarnation
 *     5  u32 group id
 *     9  u16 queue id
 *     11 u48 offset
 *     17 u48 lease generation
 *     23 u32 run that granted the lease
 *     27 u16 attempt
 *     29 u8  length of the lane, its UTF-8
 *     .. 12 bytes of HMAC-SHA256 over all before
 *
 * Whoever holds one can settle exactly that lease of that message, through any sidecar, and nothing else.
 */
export interface Receipt {
  topicId: number;
  groupId: number;
  queueId: number;
  offset: number;
  generation: number;
  run: number;
  attempt: number;
  lane: string;
}

export const receiptBlank = (): Receipt => ({
  topicId: 0,
  groupId: 0,
  queueId: 0,
  offset: 0,
  generation: 0,
  run: 0,
  attempt: 0,
  lane: "",
});

/** What a text is, seen as a receipt. "foreign": of another broker; "forged": the seal is not ours or does not match. */
export type ReceiptKind = "ours" | "foreign" | "malformed" | "forged";

const version = 1;
const headBytes = 30;
const macBytes = 12;
/** So that a receipt stays below the 255 characters an SDK is known to carry. */
export const laneBytesMax = 63;
export const brokerNameBytesMax = 63;
const sealedBytesMax = headBytes + laneBytesMax + macBytes;
/** Below this a guess at the key would be thinkable. */
const keyBytesMin = 16;

const alphabet = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const digitOf = new Uint8Array(256).fill(255);
for (let i = 0; i < alphabet.length; i++) digitOf[alphabet[i]!] = i;

/** Writes and reads the receipts of one broker. Reuses its buffers: not reentrant, results are views. */
export class ReceiptSealer {
  readonly #mac: ReceiptMac;
  readonly #macBytes = Buffer.alloc(32);
  /** "<broker name>." */
  readonly #prefix: Buffer;
  readonly #sealed = Buffer.alloc(sealedBytesMax);
  readonly #text: Buffer;

  /** `key`: 16 to 64 bytes, kept with the broker's data. `brokerName`: at most 63 bytes. */
  constructor(brokerName: string, key: Buffer) {
    if (key.length < keyBytesMin) throw new Error(`the receipt key has ${key.length} bytes; at least ${keyBytesMin}`);
    this.#mac = new ReceiptMac(key);
    this.#prefix = Buffer.from(`${brokerName}.`);
    if (this.#prefix.length > brokerNameBytesMax + 1) {
      throw new Error(`the broker name "${brokerName}" exceeds ${brokerNameBytesMax} bytes`);
    }
    this.#text = Buffer.alloc(this.#prefix.length + Math.ceil((sealedBytesMax * 4) / 3));
    this.#prefix.copy(this.#text);
  }

  /** The receipt's ASCII bytes: a view that is valid until the next call. */
  seal(receipt: Readonly<Receipt>): Buffer {
    const sealed = this.#sealed;
    sealed[0] = version;
    sealed.writeUInt32BE(receipt.topicId, 1);
    sealed.writeUInt32BE(receipt.groupId, 5);
    sealed.writeUInt16BE(receipt.queueId, 9);
    sealed.writeUIntBE(receipt.offset, 11, 6);
    sealed.writeUIntBE(receipt.generation, 17, 6);
    sealed.writeUInt32BE(receipt.run, 23);
    sealed.writeUInt16BE(receipt.attempt, 27);
    const laneBytes = receipt.lane === "" ? 0 : sealed.write(receipt.lane, headBytes, laneBytesMax, "utf8");
    sealed[headBytes - 1] = laneBytes;
    const end = headBytes + laneBytes;
    this.#mac.write(sealed, end, this.#macBytes, 0);
    this.#macBytes.copy(sealed, end, 0, macBytes);
    return this.#text.subarray(0, encodeBase64url(sealed, end + macBytes, this.#text, this.#prefix.length));
  }

  /** Reads a receipt; `into` is set when the answer is "ours". */
  open(text: Uint8Array, into: Receipt): ReceiptKind {
    const prefix = this.#prefix;
    for (let i = 0; i < prefix.length; i++) {
      if (text[i] !== prefix[i]) return text.includes(0x2e) ? "foreign" : "malformed";
    }
    const length = decodeBase64url(text, prefix.length, this.#sealed);
    const sealed = this.#sealed;
    if (length < headBytes + macBytes || sealed[0] !== version) return "malformed";
    const laneBytes = sealed[headBytes - 1]!;
    const end = headBytes + laneBytes;
    if (length !== end + macBytes) return "malformed";
    this.#mac.write(sealed, end, this.#macBytes, 0);
    if (!timingSafeEqual(this.#macBytes.subarray(0, macBytes), sealed.subarray(end, end + macBytes))) return "forged";
    into.topicId = sealed.readUInt32BE(1);
    into.groupId = sealed.readUInt32BE(5);
    into.queueId = sealed.readUInt16BE(9);
    into.offset = sealed.readUIntBE(11, 6);
    into.generation = sealed.readUIntBE(17, 6);
    into.run = sealed.readUInt32BE(23);
    into.attempt = sealed.readUInt16BE(27);
    into.lane = laneBytes === 0 ? "" : sealed.toString("utf8", headBytes, end);
    return "ours";
  }
}

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
