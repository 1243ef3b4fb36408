import { receiptBrokerName } from "../../proto/receipt-handle.ts";

/** Ours have at most 255 characters. */
const receiptLengthMax = 255;
const brokerNamePattern = /^[a-zA-Z0-9._-]{1,127}$/;

/**
 * The broker that gave a receipt out; undefined when the text can be no receipt of this mesh. A client can put anything
 * there, and the name is about to be asked for at the control plane.
 */
export function brokerNameOfReceipt(receipt: string): string | undefined {
  if (receipt.length > receiptLengthMax) return undefined;
  const brokerName = receiptBrokerName(receipt);
  return brokerName !== undefined && brokerNamePattern.test(brokerName) ? brokerName : undefined;
}
