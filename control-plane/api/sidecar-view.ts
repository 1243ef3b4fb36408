import type { StreamReport } from "../xds/ads-server.ts";

/** One connected client of the discovery service: who it is, what it holds, and what it refused. */
export function sidecarView(report: StreamReport): object {
  const { node, held } = report;
  return {
    id: node?.id ?? "",
    address: report.peer,
    admin: adminOf(report),
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

/** "host:port" of the admin port as it can be reached from elsewhere; null: it does not say. */
export function adminOf({ node, peer }: StreamReport): string | null {
  const said = node?.metadata?.fields?.["popmesh.admin"]?.stringValue ?? "";
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(said) ?? [];
  if (port === "") return null;
  const isAnywhere = host === "0.0.0.0" || host === "::" || host === "";
  const [, peerHost = host] = /^(?:ipv[46]:)?(.*):\d+$/.exec(peer) ?? [];
  return `${isAnywhere ? peerHost : host}:${port}`;
}
