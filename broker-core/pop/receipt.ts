import { strict as assert } from "node:assert";
import { foreign, type SealKind, TextSealer } from "./text-sealer.ts";

/**
 * Receipt handles (proto/receipt-handle.ts): "<broker name>.<base64url of the sealed part>". The sealed part, big-endian:
 *
 *     0  u8  1: a receipt
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

const receiptMark = 1;
const headBytes = 30;
/** So that a receipt stays below the 255 characters an SDK is known to carry. */
export const laneBytesMax = 63;

/** Writes and reads the receipts of one broker. Reuses its buffers: not reentrant, results are views. */
export class ReceiptSealer {
  readonly #sealer: TextSealer;

  /** As `TextSealer`. */
  constructor(brokerName: string, key: Buffer) {
    this.#sealer = new TextSealer(brokerName, key, headBytes + laneBytesMax);
  }

  /** The receipt's ASCII bytes: a view that is valid until the next call. */
  seal(receipt: Readonly<Receipt>): Buffer {
    const { part } = this.#sealer;
    part[0] = receiptMark;
    part.writeUInt32BE(receipt.topicId, 1);
    part.writeUInt32BE(receipt.groupId, 5);
    part.writeUInt16BE(receipt.queueId, 9);
    part.writeUIntBE(receipt.offset, 11, 6);
    part.writeUIntBE(receipt.generation, 17, 6);
    part.writeUInt32BE(receipt.run, 23);
    part.writeUInt16BE(receipt.attempt, 27);
    const laneBytes = this.#writeLane(receipt.lane);
    part[headBytes - 1] = laneBytes;
    return this.#sealer.seal(headBytes + laneBytes);
  }

  /** Reads a receipt; `into` is set when the answer is "ours". */
  open(text: Uint8Array, into: Receipt): SealKind {
    const { part } = this.#sealer;
    const end = this.#sealer.read(text);
    if (end < headBytes) return end === foreign ? "foreign" : "malformed";
    const laneBytes = part[headBytes - 1]!;
    if (part[0] !== receiptMark || end !== headBytes + laneBytes) return "malformed";
    if (!this.#sealer.proves(end)) return "forged";
    into.topicId = part.readUInt32BE(1);
    into.groupId = part.readUInt32BE(5);
    into.queueId = part.readUInt16BE(9);
    into.offset = part.readUIntBE(11, 6);
    into.generation = part.readUIntBE(17, 6);
    into.run = part.readUInt32BE(23);
    into.attempt = part.readUInt16BE(27);
    into.lane = this.#readLane(laneBytes);
    return "ours";
  }

  // Nearly all receipts in a row are of one lane: its text and bytes are remembered, which costs less than to encode them.
  #lane = "";
  #laneBytes: Buffer = Buffer.alloc(0);

  #writeLane(lane: string): number {
    if (lane !== this.#lane) this.#rememberLane(lane, Buffer.from(lane));
    const { part } = this.#sealer;
    const bytes = this.#laneBytes;
    assert(bytes.length <= laneBytesMax, "a lane's name that receivers have refused");
    for (let i = 0; i < bytes.length; i++) part[headBytes + i] = bytes[i]!;
    return bytes.length;
  }

  #readLane(length: number): string {
    const { part } = this.#sealer;
    let isKnown = length === this.#laneBytes.length;
    for (let i = 0; i < length && isKnown; i++) isKnown = part[headBytes + i] === this.#laneBytes[i];
    if (!isKnown) {
      const bytes = Buffer.from(part.subarray(headBytes, headBytes + length));
      this.#rememberLane(bytes.toString("utf8"), bytes);
    }
    return this.#lane;
  }

  #rememberLane(lane: string, bytes: Buffer): void {
    this.#lane = lane;
    this.#laneBytes = bytes;
  }
}
