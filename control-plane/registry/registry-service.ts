import {
  status as GrpcStatus,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { brokerNameProblem, printableName } from "../../proto/resource-name.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { declareBroker, refuseReplacedRun, stopBroker } from "../catalog/declare-broker.ts";
import { ensureGroup, ensureTopic } from "../catalog/ensure.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { BrokerLeases } from "./broker-leases.ts";

const {
  RegisterBrokerRequest,
  RegisterBrokerAnswer,
  DeregisterBrokerRequest,
  DeregisterBrokerAnswer,
  EnsureTopicRequest,
  EnsureGroupRequest,
  EnsureAnswer,
} = popmesh.v1;

const hostLengthMax = 255;
const askerLengthMax = 128;

/** A refusal as a gRPC status. */
class CallRefused extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface RegistryOptions {
  readonly catalog: Catalog;
  readonly leases: BrokerLeases;
  /** Policy of namespaces that nobody has declared. */
  readonly namespaceDefaults: NamespaceSpec;
  /** Called when the endpoints of a broker have to be published though its record did not change. */
  readonly onRevival: (brokerName: string) => void;
  readonly log: Log;
}

/** `popmesh.v1.Registry`: what brokers and sidecars ask of the control plane beside xDS. Answers when it is durable. */
export function registryService(options: RegistryOptions): {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
} {
  const { catalog, leases, namespaceDefaults, log } = options;

  const registerBroker = async (request: popmesh.v1.RegisterBrokerRequest) => {
    const name = request.brokerName;
    const wrong = brokerNameProblem(name);
    if (wrong !== undefined) throw invalid(`broker name "${printableName(name)}" ${wrong}`);
    if (!/^[\x21-\x7e]+$/.test(request.host) || request.host.length > hostLengthMax) {
      throw invalid(`"${printableName(request.host)}" is no host name or address`);
    }
    if (request.port < 1 || request.port > 65_535) throw invalid(`${request.port} is no port`);
    let isRevived = false;
    const refusal = await catalog.change(`broker:${name}`, (draft) => {
      const { host, port, runId, draining, writable, lanesOff } = request;
      // Field by field: what is false is not sent, and no property of its own of what was decoded.
      const said = { name, host, port, runId, draining, writable, lanesOff };
      const reason = refuseReplacedRun(draft, said);
      if (reason !== undefined) return reason;
      // First of all, so that topics are placed on it and its endpoint goes out as alive.
      isRevived = leases.renew(name);
      declareBroker(draft, said);
      return undefined;
    });
    if (refusal !== undefined) {
      log.warn({ broker: name, host: request.host, port: request.port }, refusal);
      throw new CallRefused(GrpcStatus.FAILED_PRECONDITION, refusal);
    }
    if (isRevived) options.onRevival(name);
    return { leaseMs: leases.leaseMs };
  };

  const deregisterBroker = async (request: popmesh.v1.DeregisterBrokerRequest) => {
    const name = request.brokerName;
    if (catalog.tables.broker.get(name)?.runId === request.runId) leases.end(name);
    await catalog.change(`broker:${name}`, (draft) => stopBroker(draft, name, request.runId));
    return {};
  };

  const asker = (name: string) => `sidecar:${printableName(name.slice(0, askerLengthMax))}`;
  const methods = {
    registerBroker: unary(
      "RegisterBroker",
      (bytes) => RegisterBrokerRequest.decode(bytes),
      registerBroker,
      (answer) => RegisterBrokerAnswer.encode(answer).finish(),
    ),
    deregisterBroker: unary(
      "DeregisterBroker",
      (bytes) => DeregisterBrokerRequest.decode(bytes),
      deregisterBroker,
      (answer) => DeregisterBrokerAnswer.encode(answer).finish(),
    ),
    ensureTopic: unary(
      "EnsureTopic",
      (bytes) => EnsureTopicRequest.decode(bytes),
      ({ name, askedBy }) => catalog.change(asker(askedBy), (draft) => ensureTopic(draft, name, namespaceDefaults)),
      (answer) => EnsureAnswer.encode(answer).finish(),
    ),
    ensureGroup: unary(
      "EnsureGroup",
      (bytes) => EnsureGroupRequest.decode(bytes),
      ({ name, askedBy }) => catalog.change(asker(askedBy), (draft) => ensureGroup(draft, name, namespaceDefaults)),
      (answer) => EnsureAnswer.encode(answer).finish(),
    ),
  };
  return {
    definition: Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, method.definition])),
    implementation: Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, method.handler])),
  };
}

/** One method over raw bytes: decoded, served and encoded by the functions given. */
function unary<Q, A>(
  name: string,
  decode: (bytes: Buffer) => Q,
  serve: (request: Q) => Promise<A>,
  encode: (answer: A) => Uint8Array,
) {
  const same = (bytes: Buffer) => bytes;
  return {
    definition: {
      path: `/popmesh.v1.Registry/${name}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
    handler: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      let request: Q;
      try {
        request = decode(call.request);
      } catch (error) {
        return done({ code: GrpcStatus.INVALID_ARGUMENT, details: `cannot be decoded: ${textOf(error)}` });
      }
      serve(request).then(
        (answer) => {
          const bytes = encode(answer);
          done(null, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        },
        (error: unknown) => {
          const code = error instanceof CallRefused ? error.code : GrpcStatus.INTERNAL;
          done({ code, details: textOf(error) });
        },
      );
    },
  };
}

function invalid(message: string): CallRefused {
  return new CallRefused(GrpcStatus.INVALID_ARGUMENT, message);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
