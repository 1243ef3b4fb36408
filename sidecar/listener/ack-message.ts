import { Code, codeName } from "../../proto/code.ts";
import { AckMessageResponseWriter, AckMessageScan } from "../../proto/codec/ack-message.ts";
import { readText } from "../../proto/codec/text.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { MeshCall } from "../filter/filter.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { GroupRef, UpstreamResults } from "../upstream/upstream.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { CallEntry } from "./call-entry.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import { answerStatus } from "./local-answer.ts";
import { methodPath } from "./method-path.ts";
import { brokerNameOfReceipt } from "./receipt-check.ts";
import { readRequest } from "./request-reading.ts";

/** 1,024 entries with ids and handles of the longest kind. */
const requestBytesMax = 512 * 1024;

interface EntryResult {
  readonly code: Code;
  readonly message: string;
}

const notAReceipt: EntryResult = {
  code: Code.InvalidReceiptHandle,
  message: "this is no receipt handle of this mesh; use the handle of the received message unchanged",
};

/** One ack on its way: its entries may go to several brokers. */
interface AckTicket {
  readonly server: ServerCall;
  readonly call: MeshCall;
  /** A copy: the answer echoes ids and handles. */
  readonly request: Buffer;
  readonly results: (EntryResult | undefined)[];
  openCount: number;
}

/**
 * AckMessage: a result per entry, above them their common code or MULTIPLE_RESULTS. A receipt says itself which broker it belongs
 * to, so it does not matter which sidecar it was given by.
 */
export class AckMessageMethod implements GrpcMethod {
  readonly path = methodPath("AckMessage");
  readonly kind = "unary";
  readonly requestBytesMax = requestBytesMax;
  readonly #entry: CallEntry;
  readonly #router: Router;
  readonly #renewal: AutoRenewal;
  readonly #clock: Clock;
  readonly #scan = new AckMessageScan();
  readonly #response = new AckMessageResponseWriter();
  readonly #copyResponse = (into: Buffer, at: number): void => this.#response.copyTo(into, at);

  constructor(entry: CallEntry, router: Router, renewal: AutoRenewal) {
    this.#entry = entry;
    this.#router = router;
    this.#renewal = renewal;
    this.#clock = entry.clock;
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const scan = this.#scan;
    const malformed = readRequest(scan, bytes, start, end);
    const { topic, group } = scan;
    const namespace = commonNamespace(group.namespace, topic.namespace);
    const call = this.#entry.open(server, "AckMessage", namespace, topic.name, group.name, end - start);
    const verdict = this.#entry.enter(call);
    if (verdict.kind === "answer") {
      answerStatus(server, this.#clock, verdict.code, verdict.message);
      return;
    }
    if (malformed !== "") {
      this.#refuse(server, call, Code.BadRequest, malformed);
      return;
    }
    if (scan.entryCount === 0) {
      this.#refuse(server, call, Code.InternalServerError, "ack message result is empty: the request has no entries");
      return;
    }
    const request = Buffer.from(bytes.subarray(start, end));
    const policy = this.#router.groupNow(call);
    if (policy !== undefined) {
      this.#ack(server, call, policy.ref, request);
      return;
    }
    this.#router.groupOf(call, (found) => {
      if (found.ok) this.#ack(server, call, found.value.ref, request);
      else this.#refuse(server, call, found.code, found.message);
    });
  }

  #ack(server: ServerCall, call: MeshCall, group: GroupRef, request: Buffer): void {
    const scan = this.#scan;
    scan.read(request, 0, request.length);
    const ticket: AckTicket = {
      server,
      call,
      request,
      results: new Array(scan.entryCount).fill(undefined),
      openCount: 0,
    };
    // Which entries go to which broker. Nearly always there is one broker, and mostly one entry.
    const byBroker = new Map<string, { readonly receipts: string[]; readonly indexes: number[] }>();
    for (let i = 0; scan.nextEntry(); i++) {
      const receipt = readText(request, scan.receiptHandleStart, scan.receiptHandleEnd);
      const brokerName = brokerNameOfReceipt(receipt);
      if (brokerName === undefined) {
        ticket.results[i] = notAReceipt;
        continue;
      }
      let part = byBroker.get(brokerName);
      if (part === undefined) byBroker.set(brokerName, (part = { receipts: [], indexes: [] }));
      part.receipts.push(receipt);
      part.indexes.push(i);
    }
    ticket.openCount = byBroker.size;
    if (byBroker.size === 0) this.#answer(ticket);
    for (const [brokerName, part] of byBroker) {
      this.#router.ack(call, group, brokerName, part.receipts, (answer) => {
        this.#takeResults(ticket, part, answer);
        if (--ticket.openCount === 0) this.#answer(ticket);
      });
    }
  }

  #takeResults(
    ticket: AckTicket,
    part: { readonly receipts: readonly string[]; readonly indexes: readonly number[] },
    answer: UpstreamResults,
  ): void {
    const session = this.#entry.session(ticket.call);
    part.indexes.forEach((index, i) => {
      const result = answer.ok ? answer.results[i] : answer;
      if (result === undefined) {
        ticket.results[index] = { code: Code.InternalServerError, message: "the broker left this entry out" };
        return;
      }
      ticket.results[index] = { code: result.code, message: result.message };
      const isSettled = result.code === Code.Ok || result.code === Code.InvalidReceiptHandle;
      const receipt = part.receipts[i];
      if (isSettled && receipt !== undefined) this.#renewal.release(session, receipt);
    });
  }

  #answer(ticket: AckTicket): void {
    const { server, call, request, results } = ticket;
    const common = commonCode(results);
    if (server.isOpen) {
      const scan = this.#scan;
      const response = this.#response;
      const isCommon = common !== Code.MultipleResults;
      response.begin(common, isCommon ? textOf(results[0]) : codeName(common));
      scan.read(request, 0, request.length);
      for (let i = 0; scan.nextEntry(); i++) {
        const result = results[i];
        response.addEntry(
          result?.code ?? Code.InternalServerError,
          textOf(result),
          request,
          scan.messageIdStart,
          scan.messageIdEnd,
          scan.receiptHandleStart,
          scan.receiptHandleEnd,
        );
      }
      server.sendWith(response.length, this.#copyResponse);
      server.finish(GrpcStatus.Ok);
      this.#entry.leave(call, common);
    } else this.#entry.leave(call, Code.RequestTimeout);
  }

  #refuse(server: ServerCall, call: MeshCall, code: Code, message: string): void {
    answerStatus(server, this.#clock, code, message);
    this.#entry.leave(call, code);
  }
}

function commonCode(results: readonly (EntryResult | undefined)[]): Code {
  const first = results[0]?.code ?? Code.InternalServerError;
  for (const result of results) if (result?.code !== first) return Code.MultipleResults;
  return first;
}

function textOf(result: EntryResult | undefined): string {
  if (result === undefined) return "";
  return result.message === "" ? codeName(result.code) : result.message;
}
