import { Code } from "../../proto/code.ts";
import type { MessageScan } from "../../proto/codec/message-scan.ts";
import { ReceiveMessageReader } from "../../proto/codec/receive-message.ts";
import { receiptBrokerName } from "../../proto/receipt-handle.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Counter, MetricRegistry } from "../../proto/runtime/metric.ts";
import type { MeshCall } from "../filter/filter.ts";
import type { ReceiveOrder } from "../filter/receive-order.ts";
import { commonNamespace, type Refusal } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { LaneMarks } from "../lane/lane-marks.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import { paceReceive, settleReceive } from "../limit/receive-pace.ts";
import type { GroupPolicy, TopicRoute } from "../route/topic-route.ts";
import type { Delivery, UpstreamReceiveAnswer } from "../upstream/upstream.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { CallEntry } from "./call-entry.ts";
import type { ClientSession } from "./client-session.ts";
import type { GrpcMethod, ServerCall } from "./http2/grpc-method.ts";
import type { LaneConsumers } from "./lane-consumers.ts";
import { tooManyRequestsDelayMs } from "./local-answer.ts";
import { methodPath } from "./method-path.ts";
import { batchOf, invisibleMsOf, longPollMsMax, pollMsOf, refuseFilter } from "./receive-check.ts";
import { type PollOwner, ReceivePoll, writeEmpty } from "./receive-poll.ts";
import { readRequest } from "./request-reading.ts";
import type { StallWatch } from "./stall-watch.ts";

const requestBytesMax = 64 * 1024;

/** Messages of one receive, in bytes; the first one always goes. Keeps what waits in our memory small. */
const responseBytesMax = 4 * 1024 * 1024;

/** grpc-js clients take no larger message. The Node.js SDK fails the whole receive on one. */
const nodeJsResponseBytesMax = 4 * 1024 * 1024;

/** A receive that is refused while draining is held this long: its client asks again at once. */
const drainingAnswerDelayMs = 1_000;

/**
 * The broker refuses a filter that is not the group's (docs/filter.md) at once, and a loop around `SimpleConsumer.receive` would
 * ask again at once. Push consumers of the SDKs wait as long by themselves.
 */
const refusedFilterDelayMs = 1_000;

/** Patience for handing back what could not be delivered; after that the invisible time ends it. */
const handBackPatienceMs = 1_000;

export interface ReceiveDeps {
  readonly entry: CallEntry;
  readonly router: Router;
  readonly renewal: AutoRenewal;
  readonly stalls: StallWatch;
  readonly lanes: LaneMarks;
  readonly limits: LimitTable;
  /** Undefined in the base lane. */
  readonly consumers: LaneConsumers | undefined;
  readonly log: Log;
  readonly metrics: MetricRegistry;
}

/**
 * ReceiveMessage: a stream of status, messages, delivery timestamp. It ends as soon as there is something, or with
 * MESSAGE_NOT_FOUND before the caller's deadline. What was popped but could not be written goes back to the broker.
 */
export class ReceiveMessageMethod implements GrpcMethod, PollOwner {
  readonly path = methodPath("ReceiveMessage");
  readonly kind = "server-streaming";
  readonly requestBytesMax = requestBytesMax;
  readonly #entry: CallEntry;
  readonly #router: Router;
  readonly #renewal: AutoRenewal;
  readonly #stalls: StallWatch;
  readonly #lanes: LaneMarks;
  readonly #consumers: LaneConsumers | undefined;
  readonly #limits: LimitTable;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #reader = new ReceiveMessageReader();
  readonly #open = new Set<ReceivePoll>();
  readonly #deliveredMessages: Counter;

  constructor(deps: ReceiveDeps) {
    this.#entry = deps.entry;
    this.#router = deps.router;
    this.#renewal = deps.renewal;
    this.#stalls = deps.stalls;
    this.#lanes = deps.lanes;
    this.#limits = deps.limits;
    this.#consumers = deps.consumers;
    this.#clock = deps.entry.clock;
    this.#log = deps.log;
    this.#deliveredMessages = deps.metrics.counter(
      "popmesh_sidecar_delivered_messages_total",
      "Messages written to clients.",
    );
  }

  /** Every waiting receive is answered now. */
  endAll(): void {
    for (const poll of [...this.#open]) poll.end();
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const reader = this.#reader;
    const malformed = readRequest(reader, bytes, start, end);
    const requestedPollMs = reader.longPollingTimeout.isPresent ? Math.max(0, reader.longPollingTimeout.ms) : undefined;
    const call = this.#entry.open(
      server,
      "ReceiveMessage",
      commonNamespace(reader.topic.namespace, reader.group.namespace),
      reader.topic.name,
      reader.group.name,
      end - start,
      Math.min(requestedPollMs ?? longPollMsMax, longPollMsMax) + 3_000,
    );
    const verdict = this.#entry.enter(call);
    if (verdict.kind === "answer") {
      // A draining sidecar answers "nothing"; its clients would ask again at once.
      const delayMs = verdict.code === Code.MessageNotFound ? drainingAnswerDelayMs : 0;
      this.answerEmpty(server, call, verdict.code, verdict.message, delayMs);
      return;
    }
    const session = this.#entry.session(call);
    session.connectionId = server.connection.id;
    const order = malformed === "" ? this.#orderOf(call, session, requestedPollMs) : badRequest(malformed);
    const poll = new ReceivePoll(this, server, call, session, reader.autoRenew);
    if ("code" in order) {
      poll.finish(order.code, order.message);
      return;
    }
    server.context = poll;
    this.#open.add(poll);
    session.polls.add(poll);
    this.#resolve(poll, order);
  }

  onCancel(server: ServerCall): void {
    (server.context as ReceivePoll | undefined)?.end();
  }

  /** Reads the request in the reader; says why not where it cannot be served. */
  #orderOf(call: MeshCall, session: ClientSession, requestedPollMs: number | undefined): ReceiveOrder | Refusal {
    const reader = this.#reader;
    const invisible = reader.invisibleDuration;
    const invisibleMs = invisibleMsOf(reader.autoRenew, invisible.isPresent ? invisible.ms : undefined);
    if (typeof invisibleMs !== "number") return invisibleMs;
    const filterRefusal = refuseFilter(reader.filterType, reader.filter);
    if (filterRefusal !== undefined) return filterRefusal;
    const remainingMs = call.deadlineMs - call.startedMs;
    return {
      brokerName: reader.brokerName,
      batch: batchOf(reader.batchSize),
      invisibleMs,
      waitMs: pollMsOf(requestedPollMs, remainingMs, session.requestTimeoutMs),
      filterType: reader.filterType,
      filter: reader.filter,
      attemptId: reader.attemptId,
      bytesMax: responseBytesMax,
      // A receive that may come again under its attempt id comes again to the broker that it names.
      takesFromAny: session.isSimpleConsumer && reader.attemptId === "",
    };
  }

  /** Finds group and topic, then polls. */
  #resolve(poll: ReceivePoll, order: ReceiveOrder): void {
    const { call } = poll;
    const topicName = qualifiedName(call.namespace, call.topic);
    this.#router.topic(topicName, call.deadlineMs, (route) => {
      if (!route.ok) poll.finish(route.code, route.message);
      else {
        this.#router.groupOf(call, (group) => {
          if (!group.ok) poll.finish(group.code, group.message);
          else this.#poll(poll, order, route.value, group.value);
        });
      }
    });
  }

  #poll(poll: ReceivePoll, order: ReceiveOrder, route: TopicRoute, group: GroupPolicy): void {
    const { call, server } = poll;
    if (!server.isOpen) {
      poll.finish(Code.RequestTimeout, "");
      return;
    }
    // Fetching configuration took a part of the patience.
    const leftMs = call.deadlineMs - this.#clock.monotonicMs();
    const waitMs = poll.isEnding ? 0 : pollMsOf(order.waitMs, leftMs, 0);
    const issuedMs = this.#clock.monotonicMs();
    poll.group = group;
    poll.invisibleMs = order.invisibleMs;
    const limiters = this.#limits.forReceive(call.namespace, call.topic, call.group, call.clientId);
    if (limiters.length === 0) {
      this.#ask(poll, { ...order, waitMs }, route, group, () => {});
      return;
    }
    const pace = paceReceive(limiters, order.batch, order.bytesMax, issuedMs);
    if (pace.kind === "wait") {
      this.#waitForPace(poll, { ...order, waitMs }, route, group, pace.ms);
      return;
    }
    const { allowed } = pace;
    const paced = { ...order, waitMs, batch: allowed.messages, bytesMax: allowed.bytes };
    this.#ask(poll, paced, route, group, (received) => settleReceive(limiters, allowed, order.batch, received));
  }

  /** Nothing may be popped yet. Looks again after `ms`; a poll whose time is over meanwhile is answered empty. */
  #waitForPace(poll: ReceivePoll, order: ReceiveOrder, route: TopicRoute, group: GroupPolicy, ms: number): void {
    const isOver = poll.isEnding || order.waitMs <= ms;
    const timer = this.#clock.after(isOver ? order.waitMs : ms, () => {
      poll.cancel = undefined;
      if (isOver) poll.finish(Code.MessageNotFound, "no new message: a rate limit holds receives back");
      else this.#poll(poll, { ...order, waitMs: order.waitMs - ms }, route, group);
    });
    poll.cancel = () => {
      timer.cancel();
      poll.cancel = undefined;
      poll.finish(Code.MessageNotFound, "no new message");
    };
  }

  /** `settle` is told what is about to be delivered, in any case. */
  #ask(
    poll: ReceivePoll,
    order: ReceiveOrder,
    route: TopicRoute,
    group: GroupPolicy,
    settle: (received: readonly Delivery[]) => void,
  ): void {
    const { call, server } = poll;
    const issuedMs = this.#clock.monotonicMs();
    const surplus = (deliveries: readonly Delivery[]) => this.handBack(poll, deliveries);
    const cancel = this.#router.receive(call, route, group, order, surplus, (answer) => {
      poll.cancel = undefined;
      if (answer.ok && server.isOpen && !poll.isEnding) {
        this.#consumers?.noteReceived(poll.session, group.ref.name, route.ref.name);
      }
      settle(this.#onAnswer(poll, answer, issuedMs));
    });
    // The answer may have come already.
    if (!poll.isAnswered) poll.cancel = cancel;
  }

  /** Returns what is being delivered. */
  #onAnswer(poll: ReceivePoll, answer: UpstreamReceiveAnswer, issuedMs: number): readonly Delivery[] {
    poll.isAnswered = true;
    if (!answer.ok) {
      const delayMs = answer.code === Code.IllegalFilterExpression ? refusedFilterDelayMs : 0;
      poll.finish(answer.code, answer.message, delayMs);
      return [];
    }
    const { deliveries } = answer;
    if (deliveries.length === 0) {
      poll.finish(Code.MessageNotFound, "no new message");
      return [];
    }
    // While this process stood still the invisible time may have ended; somebody else may have these messages by now.
    const isStale = this.#stalls.longestSince(issuedMs) >= poll.invisibleMs;
    if (!poll.server.isOpen || poll.isEnding || isStale) {
      this.handBack(poll, deliveries);
      poll.finish(Code.MessageNotFound, "no new message");
      return [];
    }
    const taken = this.#forNodeJs(poll, deliveries);
    poll.deliver(taken, this.#clock.wallMs());
    return taken;
  }

  /** A message that the Node.js SDK cannot take is delivered alone, so that it does not spoil the others. */
  #forNodeJs(poll: ReceivePoll, deliveries: readonly Delivery[]): readonly Delivery[] {
    if (!poll.session.isNodeJs) return deliveries;
    const isTooLarge = (delivery: Delivery) => delivery.message.length + 1024 > nodeJsResponseBytesMax;
    const large = deliveries.filter(isTooLarge);
    if (large.length === 0) return deliveries;
    this.#log.warn(
      { topic: poll.call.topic, group: poll.call.group, bytes: large[0]?.message.length },
      "a message is too large for the Node.js SDK, which takes 4 MiB with everything; it will fail to receive it",
    );
    if (large.length === deliveries.length) return deliveries;
    this.handBack(poll, large);
    return deliveries.filter((delivery) => !isTooLarge(delivery));
  }

  /** Popped, but the client will not see it: visible at once for others, and the attempt does not count. */
  handBack(poll: ReceivePoll, deliveries: readonly Delivery[]): void {
    const { group } = poll;
    const brokerName = receiptBrokerName(deliveries[0]?.receipt ?? "");
    if (group === undefined || brokerName === undefined) return;
    const changes = deliveries.map(({ receipt }) => ({ receipt, kind: "hand-back" as const, invisibleMs: 0 }));
    this.#router.changeUnasked(brokerName, { group: group.ref, changes }, handBackPatienceMs, (answer) => {
      if (!answer.ok) {
        this.#log.warn(
          { broker: brokerName, count: changes.length, reason: answer.message },
          "undelivered messages could not be handed back; they return when their invisible time ends",
        );
      }
    });
  }

  noteDelivered(poll: ReceivePoll, delivery: Delivery, message: MessageScan): void {
    this.#deliveredMessages.add();
    this.#lanes.noteDelivered(message, delivery.lane);
    if (!poll.autoRenew || poll.group === undefined) return;
    const brokerName = receiptBrokerName(delivery.receipt);
    if (brokerName === undefined) return;
    const { receipt, attempt } = delivery;
    this.#renewal.hold(poll.session, { receipt, brokerName, group: poll.group.ref, attempt });
  }

  noteFinished(poll: ReceivePoll, code: Code): void {
    this.#open.delete(poll);
    poll.session.polls.delete(poll);
    this.#entry.leave(poll.call, code);
  }

  noteUnreadable(poll: ReceivePoll, delivery: Delivery, error: unknown): void {
    this.#log.error(
      { err: error, topic: poll.call.topic, receipt: delivery.receipt, offset: delivery.offset },
      "a stored message cannot be read; it is not delivered and counts as an attempt",
    );
  }

  answerEmpty(server: ServerCall, call: MeshCall, code: Code, message: string, delayMs = 0): void {
    const waitMs = code === Code.TooManyRequests ? tooManyRequestsDelayMs : delayMs;
    const leftMs = Math.max(0, call.deadlineMs - this.#clock.monotonicMs() - 100);
    const answer = () => writeEmpty(server, code, message, this.#clock.wallMs());
    if (waitMs === 0) answer();
    else this.#clock.after(Math.min(waitMs, leftMs), answer);
  }
}

function badRequest(message: string): Refusal {
  return { code: Code.BadRequest, message };
}
