/** A receive as it leaves the listener. */
export interface ReceiveOrder {
  /** The broker the client names, or "". */
  readonly brokerName: string;
  readonly batch: number;
  readonly invisibleMs: number;
  readonly waitMs: number;
  readonly filterType: number;
  readonly filter: string;
  readonly attemptId: string;
  readonly bytesMax: number;
  /** The client takes what any broker of the topic has, whichever it names. */
  readonly takesFromAny: boolean;
}
