import { receiptBrokerName } from "../../proto/receipt-handle.ts";

/** Ours have at most 255 characters. */
const receiptLengthMax = 255;
/** They hold the message id, which may have 255 bytes itself (broker-core/timed/recall-handle.ts: 444 in all). */
const recallHandleLengthMax = 512;
const brokerNamePattern = /^[a-zA-Z0-9._-]{1,127}$/;

/**
 * The broker that gave a receipt out; undefined when the text can be no receipt of this mesh. A client can put anything
 * there, and the name is about to be asked for at the control plane.
 */
export function brokerNameOfReceipt(receipt: string): string | undefined {
  return brokerNameOf(receipt, receiptLengthMax);
}

/** The same of a recall handle, which begins as receipts do. */
export function brokerNameOfRecallHandle(handle: string): string | undefined {
  return brokerNameOf(handle, recallHandleLengthMax);
}

function brokerNameOf(receipt: string, lengthMax: number): string | undefined {
  if (receipt.length > lengthMax) return undefined;
  const brokerName = receiptBrokerName(receipt);
  return brokerName !== undefined && brokerNamePattern.test(brokerName) ? brokerName : undefined;
}
