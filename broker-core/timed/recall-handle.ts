import { foreign, type SealKind, TextSealer } from "../pop/text-sealer.ts";

/**
 * Recall handles (proto/receipt-handle.ts): "<broker name>.<base64url of the sealed part>". The sealed part, big-endian:
 *
 *     0  u8  3: a recall handle
 *     1  u32 topic id       ids are never used again, so it names the topic's incarnation
 *     5  u48 timed number
 *     11 u48 due at (wall ms)
 *     17 u8  length of the message id, its bytes
 *     .. 12 bytes of HMAC-SHA256 over all before
 *
 * The id of the message is in it because the answer to a recall names it, also when the message is gone.
 */
export interface RecallHandle {
  topicId: number;
  number: number;
  dueMs: number;
  messageId: string;
}

export const recallHandleBlank = (): RecallHandle => ({ topicId: 0, number: 0, dueMs: 0, messageId: "" });

const handleMark = 3;
const headBytes = 18;
/** The sidecar takes no longer ids; a longer one would be cut here. */
const idBytesMax = 255;

/** Writes and reads the recall handles of one broker. */
export class RecallHandleSealer {
  readonly #sealer: TextSealer;

  /** As `TextSealer`. */
  constructor(brokerName: string, key: Buffer) {
    this.#sealer = new TextSealer(brokerName, key, headBytes + idBytesMax);
  }

  /** `message[idStart, idEnd)`: the message id. */
  seal(topicId: number, number: number, dueMs: number, message: Buffer, idStart: number, idEnd: number): string {
    const { part } = this.#sealer;
    part[0] = handleMark;
    part.writeUInt32BE(topicId, 1);
    part.writeUIntBE(number, 5, 6);
    part.writeUIntBE(dueMs, 11, 6);
    const idBytes = Math.min(idEnd - idStart, idBytesMax);
    part[headBytes - 1] = idBytes;
    message.copy(part, headBytes, idStart, idStart + idBytes);
    const text = this.#sealer.seal(headBytes + idBytes);
    return text.toString("latin1");
  }

  /** Reads a handle; `into` is set when the answer is "ours". */
  open(text: string, into: RecallHandle): SealKind {
    const { part } = this.#sealer;
    const end = this.#sealer.read(Buffer.from(text, "latin1"));
    if (end < headBytes) return end === foreign ? "foreign" : "malformed";
    if (part[0] !== handleMark || end !== headBytes + part[headBytes - 1]!) return "malformed";
    if (!this.#sealer.proves(end)) return "forged";
    into.topicId = part.readUInt32BE(1);
    into.number = part.readUIntBE(5, 6);
    into.dueMs = part.readUIntBE(11, 6);
    into.messageId = part.toString("utf8", headBytes, end);
    return "ours";
  }
}
