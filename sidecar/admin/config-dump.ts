import type { SidecarConfig } from "../config.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import type { MeshConfig } from "../xds/mesh-config.ts";
import type { ResourceEntry, TypeSubscription } from "../xds/type-subscription.ts";

/** A name asked for this long ago without an answer is shown as timed out. */
const timeoutMs = 2_000;

/** The state names that Envoy's client status uses. */
const stateNames = {
  requested: "REQUESTED",
  active: "ACKED",
  stale: "ACKED",
  absent: "DOES_NOT_EXIST",
  error: "RECEIVED_ERROR",
} as const;

/** Everything this sidecar goes by: its own settings and each resource with its state. Holds no secrets. */
export function configDump(config: SidecarConfig, mesh: MeshConfig, limits: LimitTable): object {
  const nowMs = mesh.nowMs();
  const dump = (subscription: TypeSubscription<unknown>) => ({
    typeUrl: subscription.typeUrl,
    resources: [...subscription.entries.values()].map((entry) => dumpEntry(entry, nowMs)),
  });
  return {
    settings: config,
    controlPlane: {
      isUp: mesh.ads.isUp,
      downMs: Math.round(mesh.downMs),
      streamsOpened: mesh.ads.streamsOpened,
      nacks: mesh.ads.nacks,
      lastError: mesh.ads.lastError,
    },
    rateLimitShares: Object.fromEntries([...limits.limiters].map(([name, { share }]) => [name, share])),
    configs: [mesh.clusters, mesh.endpoints, mesh.namespaces, mesh.rateLimits, mesh.groups, mesh.topics].map(dump),
  };
}

function dumpEntry(entry: ResourceEntry<unknown>, nowMs: number): object {
  const isLate = entry.state === "requested" && nowMs - entry.requestedMs > timeoutMs;
  const isRejected = entry.rejectedVersion !== "" && entry.value !== undefined;
  return {
    name: entry.name,
    clientStatus: isLate ? "TIMEOUT" : isRejected ? "NACKED" : stateNames[entry.state],
    stale: entry.state === "stale",
    version: entry.version,
    ...(entry.rejectedVersion === "" ? {} : { rejectedVersion: entry.rejectedVersion }),
    ...(entry.reason === "" ? {} : { reason: entry.reason }),
    ageMs: Math.round(nowMs - entry.answeredMs),
    idleMs: Math.round(nowMs - entry.usedMs),
    resource: entry.value,
  };
}
