import { foreign, type SealKind, TextSealer } from "../pop/text-sealer.ts";

/**
 * Transaction ids (proto/receipt-handle.ts tells how every sidecar finds the broker): the sealed part, big-endian:
 *
 *     0  u8  2: a transaction id
 *     1  u32 topic id      ids are never used again, so it names the topic's incarnation
 *     5  u32 run           of the broker that gave the number out
 *     9  u48 transaction number
 *     .. the seal
 *
 * Whoever holds one can end exactly that transaction, through any sidecar, and nothing else.
 */
export interface TransactionId {
  topicId: number;
  run: number;
  number: number;
}

export const transactionIdBlank = (): TransactionId => ({ topicId: 0, run: 0, number: 0 });

const transactionMark = 2;
const partBytes = 15;

/** Writes and reads the transaction ids of one broker. */
export class TransactionIdSealer {
  readonly #sealer: TextSealer;

  /** As `TextSealer`. */
  constructor(brokerName: string, key: Buffer) {
    this.#sealer = new TextSealer(brokerName, key, partBytes);
  }

  seal(topicId: number, run: number, number: number): string {
    const { part } = this.#sealer;
    part[0] = transactionMark;
    part.writeUInt32BE(topicId, 1);
    part.writeUInt32BE(run, 5);
    part.writeUIntBE(number, 9, 6);
    return this.#sealer.seal(partBytes).toString("latin1");
  }

  /** Reads an id; `into` is set when the answer is "ours". */
  open(text: string, into: TransactionId): SealKind {
    const { part } = this.#sealer;
    const end = this.#sealer.read(Buffer.from(text, "utf8"));
    if (end === foreign) return "foreign";
    if (end !== partBytes || part[0] !== transactionMark) return "malformed";
    if (!this.#sealer.proves(end)) return "forged";
    into.topicId = part.readUInt32BE(1);
    into.run = part.readUInt32BE(5);
    into.number = part.readUIntBE(9, 6);
    return "ours";
  }
}
