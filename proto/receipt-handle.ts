/**
 * Receipt handles: text an SDK holds for us, at most 255 characters. "<broker name>.<base64url of the sealed part>". The
 * broker name is in the clear so that any sidecar can route an ack; everything else is the broker's own, authenticated
 * with its key (broker-core/pop/receipt.ts).
 */
export function receiptBrokerName(receipt: string): string | undefined {
  const dot = receipt.lastIndexOf(".");
  return dot > 0 && dot < receipt.length - 1 ? receipt.slice(0, dot) : undefined;
}
