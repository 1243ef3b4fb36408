import { Code } from "../../proto/code.ts";
import { ChangeKind, ChangeRequestReader, resultBytesMax, writeChangeResult } from "../../proto/codec/frame-body.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import type { ChangeCall, SettleResult } from "../broker-port.ts";
import { answerWhenDurable, answerWhenWritten } from "./answer.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

const reader = new ChangeRequestReader();

/** Changes invisible times: a client's own change answers when it is on disk, an extension or hand-back when written. */
export function serveChange(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  reader.read(bytes, start, end);
  const changes: ChangeCall[] = [];
  let mustBeDurable = false;
  while (reader.nextChange()) {
    if (reader.kind !== ChangeKind.Extend && reader.kind !== ChangeKind.HandBack) mustBeDurable = true;
    changes.push({
      receipt: bytes.subarray(reader.receiptStart, reader.receiptEnd),
      kind: reader.kind,
      invisibleMs: reader.invisibleMs,
    });
  }
  core.metrics.changes.add(changes.length);
  const settled = core.port.change(reader.groupId, changes, core.now());
  core.timer.touched();
  if (!settled.ok) {
    connection.answerFailure(FrameKind.Change, correlation, settled.code, settled.message);
    return;
  }
  const body = encodeResults(settled.results);
  if (mustBeDurable)
    answerWhenDurable(core, connection, FrameKind.Change, Code.Ok, correlation, settled.position, body);
  else answerWhenWritten(core, connection, FrameKind.Change, correlation, settled.position, body);
}

function encodeResults(results: readonly SettleResult[]): Buffer {
  const receipts = results.map((result) => result.receipt?.toString("latin1") ?? "");
  let bytesMax = 0;
  for (let i = 0; i < results.length; i++) bytesMax += resultBytesMax(results[i]!.message, receipts[i]!);
  const body = Buffer.allocUnsafe(bytesMax);
  let at = 0;
  for (let i = 0; i < results.length; i++) {
    at = writeChangeResult(body, at, results[i]!.code, results[i]!.message, receipts[i]!);
  }
  return body.subarray(0, at);
}
