import {
  status as GrpcStatus,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { LimitReport, LimitShares } from "./limit-shares.ts";

const { ShareRequest, ShareAnswer } = popmesh.v1;

const sidecarIdLengthMax = 128;

/** `popmesh.v1.Limits`: sidecars say what they want of rate limits and are told their shares (docs/rate-limits.md). */
export function limitService(
  shares: LimitShares,
  clock: Clock,
): { definition: ServiceDefinition; implementation: UntypedServiceImplementation } {
  const same = (bytes: Buffer) => bytes;
  return {
    definition: {
      share: {
        path: "/popmesh.v1.Limits/Share",
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    implementation: {
      share: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        let request: popmesh.v1.ShareRequest;
        try {
          request = ShareRequest.decode(call.request);
        } catch (error) {
          const details = `cannot be decoded: ${error instanceof Error ? error.message : String(error)}`;
          return done({ code: GrpcStatus.INVALID_ARGUMENT, details });
        }
        const { sidecarId, demand, leaving } = request;
        if (sidecarId === "" || sidecarId.length > sidecarIdLengthMax) {
          const details = `a sidecar's id has from 1 to ${sidecarIdLengthMax} characters`;
          return done({ code: GrpcStatus.INVALID_ARGUMENT, details });
        }
        if (leaving) {
          shares.leave(sidecarId);
          return done(null, bufferOf(ShareAnswer.encode({}).finish()));
        }
        const { shares: share, reportAfterMs } = shares.report(sidecarId, demand.map(sane), clock.monotonicMs());
        done(null, bufferOf(ShareAnswer.encode({ share: [...share], reportAfterMs }).finish()));
      },
    },
  };
}

/** Numbers that are none count as nothing. */
function sane(demand: popmesh.v1.LimitDemand): LimitReport {
  const number = (value: number) => (Number.isFinite(value) ? Math.max(0, value) : 0);
  return {
    name: demand.name,
    messagesWanted: number(demand.messagesWanted),
    bytesWanted: number(demand.bytesWanted),
    messagesHeld: number(demand.messagesHeld),
    bytesHeld: number(demand.bytesHeld),
  };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
