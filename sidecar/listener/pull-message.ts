import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MeshCall } from "../filter/filter.ts";
import { commonNamespace, plainName } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import { paceReceive, settleReceive } from "../limit/receive-pace.ts";
import type { Delivery, UpstreamPull, UpstreamPullAnswer } from "../upstream/upstream.ts";
import type { CallEntry } from "./call-entry.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import { answerStatus, writeStatus } from "./local-answer.ts";
import { methodPath } from "./method-path.ts";
import { queueNamed } from "./queue-check.ts";
import { batchOf, longPollMsMax, pollMsOf, refuseFilter } from "./receive-check.ts";
import { decodeRequest } from "./request-reading.ts";

const request = new GeneralCodec<apache.rocketmq.v2.PullMessageRequest, never>(
  apache.rocketmq.v2.PullMessageRequest,
  "apache.rocketmq.v2.PullMessageRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IPullMessageResponse>(
  apache.rocketmq.v2.PullMessageResponse,
  "apache.rocketmq.v2.PullMessageResponse",
);

const requestBytesMax = 64 * 1024;
/** Messages of one pull, in bytes; the first one always goes. */
const responseBytesMax = 4 * 1024 * 1024;

const scan = new MessageScan();
const delivered = new DeliveredMessage();
const writeDelivered = (into: Buffer, at: number): void => {
  delivered.write(into, at);
};

/**
 * PullMessage: a stream of status, messages, next offset. It reads one queue from an offset on, grants no lease and moves no
 * position (docs/offsets.md). With nothing there it waits, and ends with MESSAGE_NOT_FOUND and the offset to go on from.
 */
export class PullMessageMethod implements GrpcMethod {
  readonly path = methodPath("PullMessage");
  readonly kind = "server-streaming";
  readonly requestBytesMax = requestBytesMax;
  readonly #entry: CallEntry;
  readonly #router: Router;
  readonly #limits: LimitTable;

  constructor(entry: CallEntry, router: Router, limits: LimitTable) {
    this.#entry = entry;
    this.#limits = limits;
    this.#router = router;
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const decoded = decodeRequest(request, bytes, start, end);
    const pull = decoded instanceof MeshError ? undefined : decoded;
    const topic = pull?.messageQueue?.topic;
    const polling = pull?.longPollingTimeout;
    const requestedMs = polling == null ? undefined : Math.max(0, polling.seconds * 1000 + polling.nanos / 1e6);
    const call = this.#entry.open(
      server,
      "PullMessage",
      commonNamespace(topic?.resourceNamespace ?? "", pull?.group?.resourceNamespace ?? ""),
      topic?.name ?? "",
      pull?.group?.name ?? "",
      end - start,
      Math.min(requestedMs ?? longPollMsMax, longPollMsMax) + 3_000,
    );
    const verdict = this.#entry.enter(call);
    if (verdict.kind === "answer") {
      answerStatus(server, this.#entry.clock, verdict.code, verdict.message);
      return;
    }
    if (decoded instanceof MeshError) this.#refuse(server, call, Code.BadRequest, decoded.message);
    else this.#serve(server, call, decoded, requestedMs ?? 0);
  }

  #serve(server: ServerCall, call: MeshCall, pull: apache.rocketmq.v2.PullMessageRequest, requestedMs: number): void {
    const named = queueNamed(pull.messageQueue);
    const { type: filterType = 0, expression: filter = "" } = pull.filterExpression ?? {};
    const refusal = "code" in named ? named : refuseFilter(filterType, filter);
    if (refusal !== undefined || "code" in named) {
      this.#refuse(server, call, refusal?.code ?? Code.BadRequest, refusal?.message ?? "");
      return;
    }
    if (pull.offset < 0) {
      this.#refuse(server, call, Code.IllegalOffset, `an offset is 0 or more, not ${pull.offset}`);
      return;
    }
    const { brokerName, queueId } = named;
    this.#router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (route) => {
      if (!route.ok) {
        this.#refuse(server, call, route.code, route.message);
        return;
      }
      this.#router.groupOf(call, (group) => {
        if (!group.ok) {
          this.#refuse(server, call, group.code, group.message);
          return;
        }
        // Fetching configuration took a part of the patience.
        const waitMs = pollMsOf(requestedMs, call.deadlineMs - this.#entry.clock.monotonicMs(), 0);
        const refs = { topic: route.value.ref, group: group.value.ref };
        const { offset } = pull;
        const order = { ...refs, queueId, waitMs, filterType, filter, offset, batch: batchOf(pull.batchSize) };
        this.#pull(server, call, brokerName, { ...order, bytesMax: responseBytesMax });
      });
    });
  }

  /** Pulls as soon as rate limits let it, within its time. */
  #pull(server: ServerCall, call: MeshCall, brokerName: string, order: UpstreamPull): void {
    const { clock } = this.#entry;
    const limiters = this.#limits.forReceive(call.namespace, call.topic, call.group, call.clientId);
    if (limiters.length === 0) {
      this.#router.pull(call, brokerName, order, (answer) => this.#answer(server, call, brokerName, answer));
      return;
    }
    const pace = paceReceive(limiters, order.batch, order.bytesMax, clock.monotonicMs());
    if (pace.kind === "go") {
      const { allowed } = pace;
      const paced = { ...order, batch: allowed.messages, bytesMax: allowed.bytes };
      this.#router.pull(call, brokerName, paced, (answer) => {
        settleReceive(limiters, allowed, order.batch, answer.ok ? answer.deliveries : []);
        this.#answer(server, call, brokerName, answer);
      });
      return;
    }
    const isOver = !server.isOpen || order.waitMs <= pace.ms;
    clock.after(isOver ? order.waitMs : pace.ms, () => {
      if (isOver) this.#answer(server, call, brokerName, { ok: true, deliveries: [], nextOffset: order.offset });
      else this.#pull(server, call, brokerName, { ...order, waitMs: order.waitMs - pace.ms });
    });
  }

  #answer(server: ServerCall, call: MeshCall, brokerName: string, answer: UpstreamPullAnswer): void {
    if (!answer.ok) {
      this.#refuse(server, call, answer.code, answer.message);
      return;
    }
    const { deliveries, nextOffset } = answer;
    const code = deliveries.length === 0 ? Code.MessageNotFound : Code.Ok;
    this.#entry.leave(call, server.isOpen ? code : Code.RequestTimeout);
    if (!server.isOpen) return;
    writeStatus(server, code, deliveries.length === 0 ? "no message from that offset on" : "OK");
    for (const delivery of deliveries) write(server, delivery, brokerName);
    server.send(response.encode({ nextOffset }));
    server.finish(GrpcStatus.Ok);
  }

  #refuse(server: ServerCall, call: MeshCall, code: Code, message: string): void {
    this.#entry.leave(call, server.isOpen ? code : Code.RequestTimeout);
    answerStatus(server, this.#entry.clock, code, message);
  }
}

/** A message as of a receive, without what belongs to a lease. */
function write(server: ServerCall, delivery: Delivery, brokerName: string): void {
  scanMessage(delivery.message, 0, delivery.message.length, scan);
  delivered.receiptHandle = "";
  delivered.queueId = delivery.queueId;
  delivered.queueOffset = delivery.offset;
  delivered.storeMs = delivery.storeMs;
  delivered.storeHost = brokerName;
  delivered.deliveryAttempt = 1;
  delivered.invisibleMs = 0;
  delivered.bornHost = delivery.bornHost;
  delivered.deadLetterTopic = delivery.deadLetter === undefined ? "" : plainName(delivery.deadLetter.topic);
  delivered.deadLetterMessageId = delivery.deadLetter?.messageId ?? "";
  delivered.mirrorOf = delivery.mirrorOf === "" ? "" : plainName(delivery.mirrorOf);
  server.sendWith(delivered.measure(scan), writeDelivered);
}
