import { Code } from "../../proto/code.ts";
import { AckRequestReader, resultBytesMax, writeAckResult } from "../../proto/codec/frame-body.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import type { Settled, SettleResult } from "../broker-port.ts";
import { answerWhenDurable } from "./answer.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

const reader = new AckRequestReader();
const receipts: Buffer[] = [];

/** Acknowledges messages; answers when that is on disk. */
export function serveAck(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  readReceipts(bytes, start, end);
  core.metrics.acks.add(receipts.length);
  answer(core, connection, FrameKind.Ack, correlation, core.port.ack(reader.groupId, receipts, core.now()));
}

/** Moves messages to the dead-letter queue of their group; the same bodies as an Ack. */
export function serveDeadLetter(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  readReceipts(bytes, start, end);
  const settled = core.port.deadLetter(reader.groupId, receipts, core.now());
  answer(core, connection, FrameKind.DeadLetter, correlation, settled);
}

function readReceipts(bytes: Buffer, start: number, end: number): void {
  reader.read(bytes, start, end);
  receipts.length = 0;
  while (reader.nextReceipt()) receipts.push(bytes.subarray(reader.receiptStart, reader.receiptEnd));
}

function answer(
  core: ServiceCore,
  connection: Connection,
  kind: typeof FrameKind.Ack | typeof FrameKind.DeadLetter,
  correlation: number,
  settled: Settled,
): void {
  core.timer.touched();
  if (!settled.ok) {
    connection.answerFailure(kind, correlation, settled.code, settled.message);
    return;
  }
  const body = encodeResults(settled.results);
  answerWhenDurable(core, connection, kind, Code.Ok, correlation, settled.position, body);
}

function encodeResults(results: readonly SettleResult[]): Buffer {
  let bytesMax = 0;
  for (const result of results) bytesMax += resultBytesMax(result.message, "");
  const body = Buffer.allocUnsafe(bytesMax);
  let at = 0;
  for (const result of results) at = writeAckResult(body, at, result.code, result.message);
  return body.subarray(0, at);
}
