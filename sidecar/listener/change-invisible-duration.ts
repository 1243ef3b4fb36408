import { Code, codeName } from "../../proto/code.ts";
import {
  ChangeInvisibleDurationReader,
  changeResponseBytes,
  writeChangeResponse,
} from "../../proto/codec/change-invisible-duration.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { MeshCall } from "../filter/filter.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { backoffMs } from "../route/backoff.ts";
import type { GroupPolicy } from "../route/topic-route.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { CallEntry } from "./call-entry.ts";
import { ClientType } from "./client-session.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import { tooManyRequestsDelayMs } from "./local-answer.ts";
import { methodPath } from "./method-path.ts";
import { brokerNameOfReceipt } from "./receipt-check.ts";
import { refuseChangedInvisibleMs } from "./receive-check.ts";
import { readRequest } from "./request-reading.ts";

const requestBytesMax = 64 * 1024;

/** The Node.js SDK takes the seconds of its back-off for milliseconds; what a push consumer asks below this cannot be meant. */
const believableNackMs = 1_000;

/** A change as the client asked for it; the reader is used by the next call by the time it is carried out. */
interface ChangeOrder {
  readonly receipt: string;
  readonly invisibleMs: number;
  readonly suspend: boolean;
}

/**
 * ChangeInvisibleDuration: nacks and lease changes. Every answer carries a receipt handle, errors the request's own: several SDKs
 * store the handle of the answer before they look at its status.
 */
export class ChangeInvisibleDurationMethod implements GrpcMethod {
  readonly path = methodPath("ChangeInvisibleDuration");
  readonly kind = "unary";
  readonly requestBytesMax = requestBytesMax;
  readonly #entry: CallEntry;
  readonly #router: Router;
  readonly #renewal: AutoRenewal;
  readonly #clock: Clock;
  readonly #reader = new ChangeInvisibleDurationReader();

  constructor(entry: CallEntry, router: Router, renewal: AutoRenewal) {
    this.#entry = entry;
    this.#router = router;
    this.#renewal = renewal;
    this.#clock = entry.clock;
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const reader = this.#reader;
    const malformed = readRequest(reader, bytes, start, end);
    const { topic, group } = reader;
    const namespace = commonNamespace(group.namespace, topic.namespace);
    const call = this.#entry.open(server, "ChangeInvisibleDuration", namespace, topic.name, group.name, end - start);
    const order: ChangeOrder = {
      receipt: reader.receiptHandle,
      invisibleMs: reader.invisibleDuration.ms,
      suspend: reader.suspend,
    };
    const verdict = this.#entry.enter(call);
    if (verdict.kind === "answer") {
      this.#write(server, verdict.code, verdict.message, order.receipt);
      return;
    }
    if (malformed !== "") {
      this.#answer(server, call, Code.BadRequest, malformed, order.receipt);
      return;
    }
    const refusal = refuseChangedInvisibleMs(order.invisibleMs);
    if (refusal !== undefined) {
      this.#answer(server, call, refusal.code, refusal.message, order.receipt);
      return;
    }
    this.#router.groupOf(call, (found) => {
      if (found.ok) this.#change(server, call, order, found.value);
      else this.#answer(server, call, found.code, found.message, order.receipt);
    });
  }

  #change(server: ServerCall, call: MeshCall, order: ChangeOrder, group: GroupPolicy): void {
    const { receipt } = order;
    const brokerName = brokerNameOfReceipt(receipt);
    if (brokerName === undefined) {
      const message = "this is no receipt handle of this mesh; use the handle of the received message unchanged";
      this.#answer(server, call, Code.InvalidReceiptHandle, message, receipt);
      return;
    }
    const session = this.#entry.session(call);
    const held = this.#renewal.release(session, receipt);
    const isNodeJsNack = session.isNodeJs && session.clientType === ClientType.PushConsumer && !order.suspend;
    const invisibleMs =
      isNodeJsNack && order.invisibleMs < believableNackMs
        ? backoffMs(group.ref.backoff, held?.attempt ?? 1)
        : order.invisibleMs;
    const kind = order.suspend ? "suspend" : "renew";
    this.#router.change(call, brokerName, { group: group.ref, changes: [{ receipt, kind, invisibleMs }] }, (answer) => {
      const result = answer.ok ? answer.results[0] : undefined;
      if (result?.code === Code.Ok) {
        this.#answer(server, call, Code.Ok, "OK", result.receipt || receipt);
        return;
      }
      const code = answer.ok ? (result?.code ?? Code.InternalServerError) : answer.code;
      const message = answer.ok ? (result?.message ?? "the broker gave no result") : answer.message;
      // Still the client's to settle: keep it alive as before.
      if (held !== undefined && code !== Code.InvalidReceiptHandle) this.#renewal.hold(session, held);
      this.#answer(server, call, code, message, receipt);
    });
  }

  #answer(server: ServerCall, call: MeshCall, code: Code, message: string, receipt: string): void {
    this.#entry.leave(call, server.isOpen ? code : Code.RequestTimeout);
    this.#write(server, code, message, receipt);
  }

  #write(server: ServerCall, code: Code, message: string, receipt: string): void {
    if (code === Code.TooManyRequests) {
      this.#clock.after(tooManyRequestsDelayMs, () => writeAnswer(server, code, message, receipt));
    } else writeAnswer(server, code, message, receipt);
  }
}

function writeAnswer(server: ServerCall, code: Code, message: string, receipt: string): void {
  if (!server.isOpen) return;
  const text = message === "" ? codeName(code) : message;
  server.sendWith(changeResponseBytes(code, text, receipt), (into, at) =>
    writeChangeResponse(into, at, code, text, receipt),
  );
  server.finish(GrpcStatus.Ok);
}
