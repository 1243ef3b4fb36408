import { envoy } from "#codec/xds-v3";
import type { EndpointHealth, EndpointSnapshot } from "../cluster/cluster-snapshot.ts";
import { type Decoded, decodeNamed } from "./resource-type.ts";

/** Number of EDS in enum Cluster.DiscoveryType. */
const edsDiscovery = 3;

/** Numbers of enum HealthStatus. */
const HealthStatus = { Unhealthy: 2, Draining: 3, Timeout: 4, Degraded: 5 } as const;

/** A broker group exists. Who is in it says its ClusterLoadAssignment. */
export interface ClusterDefinition {
  readonly name: string;
}

/** Refused: no protobuf, another name, or a kind of discovery other than EDS. */
export function decodeCluster(name: string, bytes: Uint8Array): Decoded<ClusterDefinition> {
  const decoded = decodeNamed(
    name,
    () => envoy.config.cluster.v3.Cluster.decode(bytes),
    (message) => message.name,
  );
  if (!decoded.ok) return decoded;
  const { type, edsClusterConfig } = decoded.value;
  if (type !== edsDiscovery) return { ok: false, reason: "is not of type EDS" };
  const serviceName = edsClusterConfig?.serviceName ?? "";
  if (serviceName !== "" && serviceName !== name) {
    return { ok: false, reason: `refers to endpoints under another name: "${serviceName}"` };
  }
  return { ok: true, value: Object.freeze({ name }) };
}

/** Endpoints without a usable TCP address are left out; the others of the same group go on. */
export function decodeEndpoints(name: string, bytes: Uint8Array): Decoded<readonly EndpointSnapshot[]> {
  const decoded = decodeNamed(
    name,
    () => envoy.config.endpoint.v3.ClusterLoadAssignment.decode(bytes),
    (message) => message.clusterName,
  );
  if (!decoded.ok) return decoded;
  const endpoints: EndpointSnapshot[] = [];
  for (const locality of decoded.value.endpoints) {
    for (const { endpoint, healthStatus } of locality.lbEndpoints) {
      const socket = endpoint?.address?.socketAddress;
      const port = socket?.portValue ?? 0;
      if (socket == null || socket.address === "" || port <= 0 || port > 65_535) continue;
      endpoints.push({ host: socket.address, port, health: healthOf(healthStatus), priority: locality.priority });
    }
  }
  return { ok: true, value: Object.freeze(endpoints) };
}

function healthOf(status: number): EndpointHealth {
  if (status === HealthStatus.Draining) return "draining";
  if (status === HealthStatus.Degraded) return "degraded";
  return status === HealthStatus.Unhealthy || status === HealthStatus.Timeout ? "unhealthy" : "healthy";
}
