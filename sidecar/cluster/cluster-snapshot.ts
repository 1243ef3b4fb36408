/**
 * One broker group as the control plane describes it (Cluster + ClusterLoadAssignment), validated by the xds stage.
 * A plain immutable value: a change is a new value, applied as a whole.
 */
export interface ClusterSnapshot {
  /** "bg/<broker name>". */
  readonly name: string;
  /** In any order; two entries with the same host and port are one endpoint. Empty: the group has no live broker now. */
  readonly endpoints: readonly EndpointSnapshot[];
}

export interface EndpointSnapshot {
  readonly host: string;
  readonly port: number;
  readonly health: EndpointHealth;
  /** 0 is used first; a lower level serves only while no level above it has a healthy endpoint. */
  readonly priority: number;
}

/** "draining": it finishes what it has; no new sends, receives and acks go on. */
export type EndpointHealth = "healthy" | "degraded" | "draining" | "unhealthy";

export const clusterNamePrefix = "bg/";

/** Name of the cluster of a broker group. */
export function clusterNameOf(brokerName: string): string {
  return clusterNamePrefix + brokerName;
}

/** Name of the broker group of a cluster; the whole name when it has no prefix. */
export function brokerNameOf(clusterName: string): string {
  return clusterName.startsWith(clusterNamePrefix) ? clusterName.slice(clusterNamePrefix.length) : clusterName;
}
