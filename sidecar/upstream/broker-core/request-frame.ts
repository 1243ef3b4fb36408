import { popmesh } from "#codec/popmesh-v1";
import {
  ackRequestBytesMax,
  ChangeKind,
  changeBytesMax,
  changeGroupBytesMax,
  receiveRequestBytesMax,
  writeAckRequest,
  writeChange,
  writeChangeGroup,
  writeReceiveRequest,
  writeSendRequest,
} from "../../../proto/codec/frame-body.ts";
import { FrameKind, frameHeaderBytes } from "../../../proto/frame/frame.ts";
import type {
  UpstreamAck,
  UpstreamChange,
  UpstreamLiteSync,
  UpstreamOffset,
  UpstreamPull,
  UpstreamRecall,
  UpstreamReceive,
  UpstreamSend,
} from "../upstream.ts";
import type { BrokerConnection } from "./broker-connection.ts";

/** What the kinds of call ask for. */
export type AnyRequest =
  | UpstreamSend
  | UpstreamReceive
  | UpstreamAck
  | UpstreamChange
  | UpstreamPull
  | UpstreamOffset
  | UpstreamLiteSync
  | UpstreamRecall
  | EncodedRequest;

/** No room now: a window or the socket is full. */
export const noRoom = -1;

const wireKinds = {
  renew: ChangeKind.Renew,
  extend: ChangeKind.Extend,
  "hand-back": ChangeKind.HandBack,
  suspend: ChangeKind.Suspend,
} as const;

/**
 * Writes a request as a frame on a connection whose names are opened, and charges the windows. Returns the position of the
 * frame, or `noRoom` and has done nothing.
 */
export function writeRequest(
  connection: BrokerConnection,
  kind: number,
  correlation: number,
  request: AnyRequest,
  /** Of a send, as `sendRequestBytesMax` tells; charged to the byte window, so never less than the broker counts. */
  bytesMax: number,
  sendsInFlightMax: number,
): number {
  switch (kind) {
    case FrameKind.Send:
      return writeSend(connection, correlation, request as UpstreamSend, bytesMax, sendsInFlightMax);
    case FrameKind.Receive:
      return writeReceive(connection, correlation, request as UpstreamReceive);
    case FrameKind.Ack:
    case FrameKind.DeadLetter:
      return writeReceipts(connection, kind, correlation, request as UpstreamAck);
    case FrameKind.EndTransaction:
      return writeEncoded(connection, kind, correlation, request as EncodedRequest);
    case FrameKind.Recall:
      return writeEncoded(connection, kind, correlation, recallBody(connection, request as UpstreamRecall));
    case FrameKind.Pull:
      return writeEncoded(connection, kind, correlation, pullBody(connection, request as UpstreamPull));
    case FrameKind.LiteSync:
      return writeEncoded(connection, kind, correlation, liteSyncBody(connection, request as UpstreamLiteSync));
    case FrameKind.Offset:
      return writeEncoded(connection, kind, correlation, offsetBody(connection, request as UpstreamOffset));
    default:
      return writeChanges(connection, correlation, request as UpstreamChange);
  }
}

function writeSend(
  connection: BrokerConnection,
  correlation: number,
  request: UpstreamSend,
  bytesMax: number,
  sendsInFlightMax: number,
): number {
  if (!hasRequestRoom(connection) || connection.sendsInUse >= sendsInFlightMax) return noRoom;
  // An idle connection takes any one send, as the broker does.
  if (connection.bytesInUse > 0 && connection.bytesInUse + bytesMax > connection.byteWindow) return noRoom;
  const topicId = connection.topics.find(request.topic)!.id;
  const { writer } = connection.frames;
  const at = writer.begin(FrameKind.Send, 0, correlation, bytesMax);
  const position = writer.handedPosition + at - frameHeaderBytes;
  const { laneMark, bornHost, messages, groupSpread, isEarlierHome } = request;
  writer.end(writeSendRequest(writer.bytes, at, topicId, laneMark, bornHost, messages, groupSpread, isEarlierHome));
  connection.requestsInUse++;
  connection.sendsInUse++;
  connection.bytesInUse += bytesMax;
  return position;
}

function writeReceive(connection: BrokerConnection, correlation: number, request: UpstreamReceive): number {
  if (!connection.frames.writer.wantsMore || connection.receivesInUse >= connection.receiveWindow) return noRoom;
  const topicId = connection.topics.find(request.topic)!.id;
  const groupId = connection.groups.find(request.group)!.id;
  const fields = { ...request, topicId, groupId };
  const { writer } = connection.frames;
  const at = writer.begin(FrameKind.Receive, 0, correlation, receiveRequestBytesMax(fields));
  const position = writer.handedPosition + at - frameHeaderBytes;
  writer.end(writeReceiveRequest(writer.bytes, at, fields));
  connection.receivesInUse++;
  return position;
}

function writeReceipts(connection: BrokerConnection, kind: number, correlation: number, request: UpstreamAck): number {
  if (!hasRequestRoom(connection)) return noRoom;
  const groupId = connection.groups.find(request.group)!.id;
  const { writer } = connection.frames;
  const at = writer.begin(kind, 0, correlation, ackRequestBytesMax(request.receipts));
  const position = writer.handedPosition + at - frameHeaderBytes;
  writer.end(writeAckRequest(writer.bytes, at, groupId, request.receipts));
  connection.requestsInUse++;
  return position;
}

function writeChanges(connection: BrokerConnection, correlation: number, request: UpstreamChange): number {
  if (!hasRequestRoom(connection)) return noRoom;
  const groupId = connection.groups.find(request.group)!.id;
  let bytesMax = changeGroupBytesMax;
  for (const { receipt } of request.changes) bytesMax += changeBytesMax(receipt);
  const { writer } = connection.frames;
  let at = writer.begin(FrameKind.Change, 0, correlation, bytesMax);
  const position = writer.handedPosition + at - frameHeaderBytes;
  at = writeChangeGroup(writer.bytes, at, groupId);
  for (const { receipt, kind, invisibleMs } of request.changes) {
    at = writeChange(writer.bytes, at, receipt, wireKinds[kind], invisibleMs);
  }
  writer.end(at);
  connection.requestsInUse++;
  return position;
}

/** Rare requests are encoded when they are made. */
export interface EncodedRequest {
  readonly body: Uint8Array;
}

function writeEncoded(
  connection: BrokerConnection,
  kind: number,
  correlation: number,
  { body }: EncodedRequest,
): number {
  if (!hasRequestRoom(connection)) return noRoom;
  const { writer } = connection.frames;
  const at = writer.begin(kind, 0, correlation, body.length);
  const position = writer.handedPosition + at - frameHeaderBytes;
  writer.bytes.set(body, at);
  writer.end(at + body.length);
  connection.requestsInUse++;
  return position;
}

/** The broker has answered: its share of the windows is free again. */
export function giveBackCredit(connection: BrokerConnection, kind: number, requestBytes: number): void {
  if (kind === FrameKind.Receive) {
    connection.receivesInUse--;
    return;
  }
  connection.requestsInUse--;
  if (kind !== FrameKind.Send) return;
  connection.sendsInUse--;
  connection.bytesInUse -= requestBytes;
}

function recallBody(connection: BrokerConnection, { topic, recallHandle }: UpstreamRecall): EncodedRequest {
  const topicId = connection.topics.find(topic)!.id;
  return { body: popmesh.v1.RecallRequest.encode({ topicId, recallHandle }).finish() };
}

function pullBody(connection: BrokerConnection, { topic, group, ...rest }: UpstreamPull): EncodedRequest {
  const topicId = connection.topics.find(topic)!.id;
  const groupId = connection.groups.find(group)!.id;
  return { body: popmesh.v1.PullRequest.encode({ ...rest, topicId, groupId }).finish() };
}

const { LiteAction, LiteStartKind, OffsetPolicy } = popmesh.v1;
const wireActions = {
  add: LiteAction.ADD,
  remove: LiteAction.REMOVE,
  replace: LiteAction.REPLACE,
  clear: LiteAction.CLEAR,
} as const;
const wireStarts = {
  last: LiteStartKind.LAST,
  min: LiteStartKind.MIN,
  max: LiteStartKind.MAX,
  offset: LiteStartKind.AT_OFFSET,
  tail: LiteStartKind.TAIL,
  time: LiteStartKind.AT_TIME,
} as const;

function liteSyncBody(connection: BrokerConnection, request: UpstreamLiteSync): EncodedRequest {
  const { topic, group, clientId, action, liteTopics, start } = request;
  const body = popmesh.v1.LiteSyncRequest.encode({
    topicId: connection.topics.find(topic)!.id,
    groupId: connection.groups.find(group)!.id,
    clientId,
    action: wireActions[action],
    liteTopic: [...liteTopics],
    ...(start === undefined ? {} : { start: wireStarts[start.kind] }),
    ...(start !== undefined && "value" in start ? { startValue: start.value } : {}),
  }).finish();
  return { body };
}

const wirePolicies = {
  begin: OffsetPolicy.BEGIN,
  end: OffsetPolicy.END,
  time: OffsetPolicy.TIME,
  group: OffsetPolicy.GROUP,
  "set-group": OffsetPolicy.SET_GROUP,
} as const;

function offsetBody(connection: BrokerConnection, request: UpstreamOffset): EncodedRequest {
  const groupId = "group" in request ? connection.groups.find(request.group)!.id : 0;
  const body = popmesh.v1.OffsetRequest.encode({
    policy: wirePolicies[request.policy],
    topicId: connection.topics.find(request.topic)!.id,
    groupId,
    queueId: request.queueId,
    value: request.policy === "time" ? request.timeMs : request.policy === "set-group" ? request.offset : 0,
  }).finish();
  return { body };
}

/** Left of a receive's time for the way back, when its wait at the broker is cut. */
const answerReserveMs = 100;

/** A receive that waited in the sidecar waits the less at the broker, so that it is answered and not cut off. */
export function withinTime(request: UpstreamReceive, leftMs: number): UpstreamReceive {
  const waitMsMax = Math.max(0, Math.floor(leftMs - answerReserveMs));
  return request.waitMs <= waitMsMax ? request : { ...request, waitMs: waitMsMax };
}

/** Some of the window is kept for opening names, which other requests wait for. */
export const openingsInUseMax = 32;

function hasRequestRoom(connection: BrokerConnection): boolean {
  const reserve = Math.min(openingsInUseMax, connection.requestWindow >> 1);
  return connection.frames.writer.wantsMore && connection.requestsInUse < connection.requestWindow - reserve;
}
