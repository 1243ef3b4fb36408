import type { StreamReport } from "../xds/ads-server.ts";

/** One connected client of the discovery service: who it is, what it holds, and what it refused. */
export function sidecarView(report: StreamReport): object {
  const { node, held } = report;
  return {
    id: node?.id ?? "",
    address: report.peer,
    // Of other clients of the discovery service their own idea of a cluster.
    lane: node?.cluster ?? "",
    protocol: report.kind,
    software: [node?.userAgentName, node?.userAgentVersion].filter(Boolean).join(" "),
    connectedForMs: report.connectedForMs,
    resources: held.filter(({ exists }) => exists).length,
    absent: held.filter(({ exists }) => !exists).length,
    rejected: held.filter(({ status }) => status === "ERROR").length,
    held: held.map(({ typeUrl, name, version, status, exists, reason }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf(".") + 1),
      name,
      version,
      status,
      exists,
      ...(reason === "" ? {} : { reason }),
    })),
  };
}
