import type { ServerUnaryCall, ServiceDefinition, sendUnaryData, UntypedServiceImplementation } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import type { StreamReport } from "./ads-server.ts";

const { ClientStatusResponse } = envoy.service.status.v3;
type Config = envoy.service.status.v3.IClientConfig;

/** Numbers of enum envoy.service.status.v3.ConfigStatus. */
const statusNumber = { SYNCED: 1, NOT_SENT: 2, STALE: 3, ERROR: 4 } as const;

/** CSDS, the server's view: what each client was sent and how it answered. Contents are left out. */
export function clientStatusService(reports: () => readonly StreamReport[]): {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
} {
  const same = (bytes: Buffer) => bytes;
  return {
    definition: {
      fetchClientStatus: {
        path: "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    implementation: {
      fetchClientStatus: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        done(null, Buffer.from(ClientStatusResponse.encode({ config: reports().map(configOf) }).finish()));
      },
    },
  };
}

function configOf(report: StreamReport): Config {
  return {
    node: report.node ?? null,
    genericXdsConfigs: report.held.map(({ typeUrl, name, version, status, reason }) => ({
      typeUrl,
      name,
      versionInfo: version,
      configStatus: statusNumber[status],
      errorState: status === "ERROR" ? { details: reason } : null,
    })),
  };
}
