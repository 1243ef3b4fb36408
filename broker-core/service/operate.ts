import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind, frameBytesMax, frameHeaderBytes } from "../../proto/frame/frame.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Operated } from "../broker-port.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

/** An operator's call. A result that does not fit into a frame is refused; methods with long results answer in pages. */
export function serveOperate(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const request = decodeBody("OperateRequest", popmesh.v1.OperateRequest.decode, bytes, start, end);
  const operated = core.port.operate(request.method, parametersOf(request.arguments), core.now());
  core.timer.touched();
  if (!(operated instanceof Promise)) {
    answer(core, connection, correlation, request.method, operated);
    return;
  }
  operated.then(
    (later) => answer(core, connection, correlation, request.method, later),
    (error: unknown) => {
      const code = error instanceof MeshError ? error.code : Code.InternalServerError;
      const message = error instanceof Error ? error.message : String(error);
      core.diagnostics.error({ err: error, method: request.method }, "an operator's call failed");
      if (!connection.isClosed) connection.answerFailure(FrameKind.Operate, correlation, code, message);
    },
  );
}

function answer(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  method: string,
  operated: Operated,
): void {
  if (connection.isClosed) return;
  if (!operated.ok) {
    connection.answerFailure(FrameKind.Operate, correlation, operated.code, operated.message);
    return;
  }
  const body = popmesh.v1.OperateAnswer.encode({ result: JSON.stringify(operated.result) }).finish();
  if (body.length > frameBytesMax - frameHeaderBytes) {
    const text = `the result of ${method} has ${body.length} bytes, more than a frame holds; ask for less at once`;
    connection.answerFailure(FrameKind.Operate, correlation, Code.PayloadTooLarge, text);
    return;
  }
  answerWhenDurable(core, connection, FrameKind.Operate, Code.Ok, correlation, operated.position, body);
}

function parametersOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MeshError(Code.BadRequest, "the arguments of an operator's call are no JSON", { cause: error });
  }
}
