import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { decodeBody } from "./decode-body.ts";
import type { ServiceCore } from "./service-core.ts";

const nothing = new Uint8Array(0);

/** Commits or rolls back a transaction; answers when that is on disk. */
export function serveEndTransaction(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  core.metrics.transactionEnds.add();
  const { EndTransactionRequest } = popmesh.v1;
  const { topic, transactionId, resolution, source } = decodeBody(
    "EndTransactionRequest",
    EndTransactionRequest.decode,
    bytes,
    start,
    end,
  );
  const ended = core.port.endTransaction({ topic, transactionId, resolution, source }, core.now());
  core.timer.touched();
  if (!ended.ok) {
    connection.answerFailure(FrameKind.EndTransaction, correlation, ended.code, ended.message);
    return;
  }
  answerWhenDurable(core, connection, FrameKind.EndTransaction, Code.Ok, correlation, ended.position, nothing);
}
