import {
  status as GrpcStatus,
  type ServerDuplexStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { AdsServer } from "./ads-server.ts";
import type { AdsTransport } from "./ads-transport.ts";

const path = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

/** A client that reads this much too slowly gets nothing more until it has read; a response is at most about as large. */
const unsentBytesMax = 1024 * 1024;

type Call = ServerDuplexStream<Buffer, Uint8Array>;

/** Both ADS methods over gRPC, for `Server.addService`. Bodies pass gRPC as bytes; the codec is ours. */
export function adsService(server: AdsServer): {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
} {
  return {
    definition: {
      deltaAggregatedResources: rawBidi(`${path}/DeltaAggregatedResources`),
      streamAggregatedResources: rawBidi(`${path}/StreamAggregatedResources`),
    },
    implementation: {
      deltaAggregatedResources: (call: Call) => serve(server, call, "delta"),
      streamAggregatedResources: (call: Call) => serve(server, call, "sotw"),
    },
  };
}

function serve(server: AdsServer, call: Call, kind: "delta" | "sotw"): void {
  let unsentBytes = 0;
  const transport: AdsTransport = {
    peer: call.getPeer(),
    write(response) {
      unsentBytes += response.length;
      // Called when the bytes have left: HTTP/2 waits for the client's window.
      call.write(response, () => {
        const wasFull = unsentBytes > unsentBytesMax;
        unsentBytes -= response.length;
        if (wasFull && unsentBytes <= unsentBytesMax) connection.drained();
      });
      return unsentBytes <= unsentBytesMax;
    },
    end(how) {
      if (how.code === GrpcStatus.OK) call.end();
      else call.emit("error", how);
    },
  };
  const connection = server.open(kind, transport);
  call.on("data", (bytes: Buffer) => connection.message(bytes));
  call.on("end", () => connection.halfClosed());
  call.on("cancelled", () => connection.gone());
  call.on("error", () => connection.gone());
}

function rawBidi(methodPath: string) {
  return {
    path: methodPath,
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: asBuffer,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
