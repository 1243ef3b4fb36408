import { Code } from "../../proto/code.ts";
import { SendMessageResponseWriter, SendMessageScan } from "../../proto/codec/send-message.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { MeshCall } from "../filter/filter.ts";
import type { Router } from "../filter/router.ts";
import type { LaneMarks } from "../lane/lane-marks.ts";
import { MessageType } from "../route/route-match.ts";
import type { TopicRoute } from "../route/topic-route.ts";
import type { UpstreamSendAnswer } from "../upstream/upstream.ts";
import type { CallEntry } from "./call-entry.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import type { LiveProducers } from "./live-producers.ts";
import { answerStatus } from "./local-answer.ts";
import { copyMessageIds, namespaceOf, refuseSend, refuseSizes, refuseTypes, topicOf } from "./message-check.ts";
import { methodPath } from "./method-path.ts";
import { readRequest } from "./request-reading.ts";

/** A message of 4 MiB with its properties, and room for one that is a little too large to be told so. */
const requestBytesMax = 4 * 1024 * 1024 + 64 * 1024;

/** What the answer of a send needs of its request, whose bytes are gone by then. */
interface SendTicket {
  readonly server: ServerCall;
  readonly call: MeshCall;
  readonly messageIds: Buffer;
  readonly messageIdEnds: readonly number[];
}

/**
 * SendMessage, the hottest method: the request is scanned, not decoded, and its messages travel on as they are. All messages of a
 * request are stored in one queue, in order, or none is.
 */
export class SendMessageMethod implements GrpcMethod {
  readonly path = methodPath("SendMessage");
  readonly kind = "unary";
  readonly requestBytesMax = requestBytesMax;
  readonly #entry: CallEntry;
  readonly #router: Router;
  readonly #producers: LiveProducers;
  readonly #lanes: LaneMarks;
  readonly #clock: Clock;
  readonly #scan = new SendMessageScan();
  readonly #response = new SendMessageResponseWriter();
  readonly #copyResponse = (into: Buffer, at: number): void => this.#response.copyTo(into, at);

  constructor(entry: CallEntry, router: Router, producers: LiveProducers, lanes: LaneMarks) {
    this.#entry = entry;
    this.#producers = producers;
    this.#lanes = lanes;
    this.#router = router;
    this.#clock = entry.clock;
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const scan = this.#scan;
    const malformed = readRequest(scan, bytes, start, end);
    if (malformed !== "") scan.messageCount = 0;
    const first = scan.messageCount > 0 ? scan.messages[0] : undefined;
    const call = this.#entry.open(
      server,
      "SendMessage",
      first === undefined ? "" : namespaceOf(first),
      first === undefined ? "" : topicOf(first),
      "",
      end - start,
      undefined,
      scan.messageCount,
    );
    const verdict = this.#entry.enter(call);
    if (verdict.kind === "answer") {
      answerStatus(server, this.#clock, verdict.code, verdict.message, verdict.delayMs);
      return;
    }
    if (malformed !== "") {
      this.#refuse(server, call, Code.BadRequest, malformed);
      return;
    }
    const refusal = refuseSend(scan, call.namespace);
    if (refusal !== undefined) {
      this.#refuse(server, call, refusal.code, refusal.message);
      return;
    }
    const name = qualifiedName(call.namespace, call.topic);
    const route = this.#router.topicNow(name);
    if (route !== undefined) this.#send(server, call, route);
    else this.#sendWhenKnown(server, call, name, Buffer.from(bytes.subarray(start, end)));
  }

  /** The route must be fetched first; the request, whose bytes are lent, waits as a copy. */
  #sendWhenKnown(server: ServerCall, call: MeshCall, name: string, request: Buffer): void {
    this.#router.topic(name, call.deadlineMs, (found) => {
      if (!server.isOpen) {
        this.#entry.leave(call, Code.RequestTimeout);
      } else if (!found.ok) {
        this.#refuse(server, call, found.code, found.message);
      } else {
        this.#scan.read(request, 0, request.length);
        this.#send(server, call, found.value);
      }
    });
  }

  /** Sends what `#scan` holds. */
  #send(server: ServerCall, call: MeshCall, route: TopicRoute): void {
    const scan = this.#scan;
    const refusal =
      refuseTypes(scan, route.ref.messageTypes) ?? refuseSizes(scan, route.maxMessageBytes, call.namespace);
    if (refusal !== undefined) {
      this.#refuse(server, call, refusal.code, refusal.message);
      return;
    }
    const mark = this.#lanes.of(scan.messages, scan.messageCount);
    if (!mark.ok) {
      this.#refuse(server, call, Code.BadRequest, mark.message);
      return;
    }
    const messageIdEnds: number[] = [];
    const ticket: SendTicket = { server, call, messageIds: copyMessageIds(scan, messageIdEnds), messageIdEnds };
    const messages: Uint8Array[] = [];
    for (let i = 0; i < scan.messageCount; i++) {
      const message = scan.messages[i]!;
      messages.push(message.bytes.subarray(message.start, message.end));
    }
    const first = scan.messages[0]!;
    const messageGroup = first.text(first.messageGroupStart, first.messageGroupEnd);
    // Before it is stored, so that the broker finds somebody to ask.
    if (first.messageType === MessageType.Transaction) this.#noteProducer(call, route.ref.name);
    const order = { messages, messageGroup, bornHost: call.remoteAddress, laneMark: mark.lane };
    this.#router.send(call, route, order, (answer) => this.#answer(ticket, answer));
  }

  #answer(ticket: SendTicket, answer: UpstreamSendAnswer): void {
    const { server, call } = ticket;
    if (!server.isOpen) {
      this.#entry.leave(call, Code.RequestTimeout);
      return;
    }
    if (!answer.ok) {
      this.#refuse(server, call, answer.code, answer.message);
      return;
    }
    const response = this.#response;
    response.begin(Code.Ok, "OK");
    let idStart = 0;
    for (let i = 0; i < ticket.messageIdEnds.length; i++) {
      const idEnd = ticket.messageIdEnds[i]!;
      response.addEntry(
        Code.Ok,
        "OK",
        ticket.messageIds,
        idStart,
        idEnd,
        answer.firstOffset + i,
        answer.transactionId,
        answer.recallHandles?.[i] ?? "",
      );
      idStart = idEnd;
    }
    server.sendWith(response.length, this.#copyResponse);
    server.finish(GrpcStatus.Ok);
    this.#entry.leave(call, Code.Ok);
  }

  #noteProducer(call: MeshCall, topic: string): void {
    const session = this.#entry.session(call);
    if (session.noteProduced(topic)) this.#producers.update(session);
  }

  /** Nothing was stored for this call, or nobody knows: no entries, only a status. */
  #refuse(server: ServerCall, call: MeshCall, code: Code, message: string): void {
    answerStatus(server, this.#clock, code, message);
    this.#entry.leave(call, code);
  }
}
