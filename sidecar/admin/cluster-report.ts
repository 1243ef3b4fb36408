import type { ClusterManager } from "../cluster/cluster-manager.ts";

/** What is known of one broker. */
export interface EndpointReport {
  readonly cluster: string;
  readonly address: string;
  readonly health: string;
  readonly priority: number;
  readonly isConnected: boolean;
  readonly openRequests: number;
  readonly ejections: number;
}

export function clusterReport(clusters: ClusterManager): EndpointReport[] {
  const reports: EndpointReport[] = [];
  for (const [cluster, endpoints] of clusters.clusters) {
    for (const endpoint of endpoints) {
      reports.push({
        cluster,
        address: endpoint.address,
        health: endpoint.health,
        priority: endpoint.priority,
        isConnected: endpoint.upstream.isReady,
        openRequests: endpoint.upstream.openRequestCount,
        ejections: endpoint.outlier.ejections,
      });
    }
  }
  return reports;
}

/** One line per value: "name::address::what::value". */
export function clusterText(reports: readonly EndpointReport[]): string {
  if (reports.length === 0) return "no clusters yet: they are fetched when a topic is first used";
  return reports
    .flatMap(({ cluster, address, ...values }) =>
      Object.entries(values).map(([what, value]) => `${cluster}::${address}::${what}::${value}`),
    )
    .join("\n");
}
