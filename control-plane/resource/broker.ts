/**
 * A broker group as it registered itself: one process. `serving` and `draining` are what it last said; whether it is alive
 * is the lease's matter and not kept. `stopped`: it said goodbye; nothing can be asked of it until it comes back.
 */
export interface BrokerRecord {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Names one run of the broker process. */
  readonly runId: number;
  /** Runs that were replaced by a newer one, newest first; they are told so when they come again. */
  readonly replacedRunIds: readonly number[];
  readonly state: "serving" | "draining" | "stopped";
  readonly writable: boolean;
  /** Set: it has said that all its lanes are suspended (kill switch). */
  readonly lanesOff?: true;
  /** Wall clock. */
  readonly firstSeenMs: number;
  /** Set: an operator drains it. Beside `state`, which is what the process says of itself. */
  readonly drain?: BrokerDrain;
}

/** An operator wants a broker to finish (catalog/drain-broker.ts). */
export interface BrokerDrain {
  /** Wall clock. */
  readonly sinceMs: number;
  readonly by: string;
  /** How long message groups that always have messages left there may have new ones, milliseconds. */
  readonly patienceMs: number;
  /** Number of the spread by which message groups leave (`GroupSpread`). */
  readonly groupSpread: number;
  /** Nothing is left there that anybody waits for. */
  readonly isDone: boolean;
}

/** Name of the Cluster and of the ClusterLoadAssignment of a broker group. */
export function clusterNameOf(brokerName: string): string {
  return `bg/${brokerName}`;
}
