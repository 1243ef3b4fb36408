import { type BrokerPort, ChangeKind, type Now } from "../broker-port.ts";

/** What an answer to a receive hands out: kept until its bytes are in the system's hands, to be given back if they never are. */
export interface HandedOut {
  readonly groupId: number;
  /** Receipt handles. */
  readonly receipts: readonly string[];
}

/** Makes messages visible again that nobody has seen; their attempt does not count. */
export function handBack(port: BrokerPort, handedOut: HandedOut, now: Now): void {
  port.change(
    handedOut.groupId,
    handedOut.receipts.map((receipt) => ({
      receipt: Buffer.from(receipt, "latin1"),
      kind: ChangeKind.HandBack,
      invisibleMs: 0,
    })),
    now,
  );
}
