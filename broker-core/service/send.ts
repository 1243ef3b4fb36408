import { Code } from "../../proto/code.ts";
import { SendRequestReader } from "../../proto/codec/frame-body.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { noPosition } from "../broker-port.ts";
import { answerSend } from "./answer.ts";
import { noRecallHandles } from "./answer-gate.ts";
import type { Connection } from "./connection.ts";
import type { ServiceCore } from "./service-core.ts";

/** One request is read at a time. */
const reader = new SendRequestReader();
const messages: Buffer[] = [];

/** One send in 16 is measured. */
const sendSamplingMask = 15;
let count = 0;

/** Stores the messages of a send; answers when they are on disk. */
export function serveSend(
  core: ServiceCore,
  connection: Connection,
  correlation: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  core.metrics.sends.add();
  reader.read(bytes, start, end);
  const requestBytes = end - start;
  if (!connection.takeBytes(requestBytes)) {
    const message = `more than ${core.windows.requestBytes} bytes of sends are open on this connection, which is its window; wait for answers`;
    connection.answerFailure(FrameKind.Send, correlation, Code.TooManyRequests, message);
    return;
  }
  messages.length = 0;
  while (reader.nextMessage()) messages.push(bytes.subarray(reader.messageStart, reader.messageEnd));
  const sent = core.port.send(
    {
      topicId: reader.topicId,
      laneMark: reader.laneMark,
      bornHost: reader.bornHost,
      messages,
      groupSpread: reader.groupSpread,
      isEarlierHome: reader.isEarlierHome,
    },
    core.now(),
  );
  core.timer.touched();
  if (!sent.ok) {
    const position = sent.position ?? noPosition;
    if (sent.isMoved !== true || core.durable.mayPass(position)) {
      connection.answerFailure(FrameKind.Send, correlation, sent.code, sent.message, requestBytes, sent.isMoved);
      return;
    }
    const held = core.durable.hold(position, connection, FrameKind.Send, correlation);
    held.movedMessage = sent.message;
    held.requestBytes = requestBytes;
    return;
  }
  core.metrics.messagesStored.add(messages.length);
  if (core.durable.mayPass(sent.position)) {
    const { queueId, firstOffset, storeMs, transactionId } = sent;
    const handles = sent.recallHandles ?? noRecallHandles;
    answerSend(connection, correlation, queueId, firstOffset, storeMs, transactionId, handles, requestBytes);
    return;
  }
  const held = core.durable.hold(sent.position, connection, FrameKind.Send, correlation);
  held.queueId = sent.queueId;
  held.firstOffset = sent.firstOffset;
  held.storeMs = sent.storeMs;
  held.transactionId = sent.transactionId;
  held.recallHandles = sent.recallHandles ?? noRecallHandles;
  held.requestBytes = requestBytes;
  if ((++count & sendSamplingMask) === 0) held.startedMs = core.clock.monotonicMs();
}
