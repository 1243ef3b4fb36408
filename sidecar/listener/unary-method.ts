import { Code } from "../../proto/code.ts";
import type { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MeshCall } from "../filter/filter.ts";
import type { CallEntry } from "./call-entry.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import { answerStatus } from "./local-answer.ts";
import { methodPath } from "./method-path.ts";
import { decodeRequest } from "./request-reading.ts";

/** What a call names, as far as filters care. */
export interface CallNames {
  readonly namespace: string;
  readonly topic: string;
  readonly group: string;
}

/** Settles a call; called once. Without a response the client gets a status alone. */
export type Reply<Response> = (code: Code, message: string, response?: Response) => void;

/** A method that is called rarely: decoded by the general codec, served by a function. */
export interface UnaryService<Request, Response> {
  readonly rpc: string;
  readonly request: GeneralCodec<Request, never>;
  readonly response: GeneralCodec<unknown, Response>;
  names(request: Request): CallNames;
  serve(call: MeshCall, request: Request, reply: Reply<Response>): void;
}

const requestBytesMax = 64 * 1024;

/** Puts a service on the data port: decoding, the filter chain, encoding. */
export function unaryMethod<Request, Response>(entry: CallEntry, service: UnaryService<Request, Response>): GrpcMethod {
  return {
    path: methodPath(service.rpc),
    kind: "unary",
    requestBytesMax,
    onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
      const request = decodeRequest(service.request, bytes, start, end);
      const names = request instanceof MeshError ? noNames : service.names(request);
      const call = entry.open(server, service.rpc, names.namespace, names.topic, names.group, end - start);
      const verdict = entry.enter(call);
      if (verdict.kind === "answer") {
        answerStatus(server, entry.clock, verdict.code, verdict.message);
        return;
      }
      const reply: Reply<Response> = (code, message, response) => {
        entry.leave(call, server.isOpen ? code : Code.RequestTimeout);
        if (response === undefined) answerStatus(server, entry.clock, code, message);
        else if (server.isOpen) {
          server.send(service.response.encode(response));
          server.finish(GrpcStatus.Ok);
        }
      };
      if (request instanceof MeshError) reply(Code.BadRequest, request.message);
      else service.serve(call, request, reply);
    },
  };
}

const noNames: CallNames = { namespace: "", topic: "", group: "" };
