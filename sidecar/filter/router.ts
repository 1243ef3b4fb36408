import { Code } from "../../proto/code.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Counter, MetricRegistry } from "../../proto/runtime/metric.ts";
import type { ClusterManager } from "../cluster/cluster-manager.ts";
import type { Endpoint } from "../cluster/endpoint.ts";
import { receivingLaneOf } from "../lane/lane.ts";
import { BroadcastInstances } from "../route/broadcast-instance.ts";
import type { ConfigurationOnDemand, Found } from "../route/configuration-on-demand.ts";
import { readableSegment } from "../route/route-match.ts";
import type { RouteTable } from "../route/route-table.ts";
import type { GroupPolicy, TopicRoute } from "../route/topic-route.ts";
import type {
  Delivery,
  GroupRef,
  Upstream,
  UpstreamChange,
  UpstreamDone,
  UpstreamFailure,
  UpstreamLiteSync,
  UpstreamOffset,
  UpstreamOffsetAnswer,
  UpstreamPull,
  UpstreamPullAnswer,
  UpstreamRecall,
  UpstreamRecalled,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSendAnswer,
  UpstreamTransactionEnd,
} from "../upstream/upstream.ts";
import { answerReserveMs, hasTimeFor } from "./deadline.ts";
import type { MeshCall } from "./filter.ts";
import type { ReceiveOrder } from "./receive-order.ts";
import { ReceiveRun } from "./receive-run.ts";
import { refused } from "./refused.ts";
import { SendAttempts, type SendOrder } from "./send-attempts.ts";
import { type ReceiveAt, WideReceive } from "./wide-receive.ts";

/**
 * The last stage of the chain: route → lane → cluster → upstream. All waiting happens here and below. It answers every call
 * once, by callback, before its deadline.
 *
 * Retries (S2): acks and changes that may be repeated are asked once more of the same broker; for sends see `SendAttempts`.
 */
export class Router {
  readonly #routes: RouteTable;
  readonly #clusters: ClusterManager;
  readonly #onDemand: ConfigurationOnDemand;
  readonly #instanceLane: string;
  readonly #lanes: { readonly isOff: boolean } | undefined;
  readonly #instances = new BroadcastInstances();
  readonly #clock: Clock;
  readonly #sends: SendAttempts;
  readonly #retries: Counter;
  readonly #handedBack: Counter;
  /** Of receives that name no broker of their topic. */
  #turn = 0;

  constructor(
    stages: {
      readonly routes: RouteTable;
      readonly clusters: ClusterManager;
      readonly onDemand: ConfigurationOnDemand;
      readonly instanceLane: string;
      /** The kill switch; left out: lanes are on. */
      readonly lanes?: { readonly isOff: boolean };
    },
    clock: Clock,
    metrics: MetricRegistry,
  ) {
    this.#routes = stages.routes;
    this.#clusters = stages.clusters;
    this.#onDemand = stages.onDemand;
    this.#instanceLane = stages.instanceLane;
    this.#lanes = stages.lanes;
    this.#clock = clock;
    this.#retries = metrics.counter("popmesh_sidecar_retries_total", "Attempts beyond the first of a call.");
    this.#sends = new SendAttempts(stages.clusters, clock, this.#retries, (name) => this.topicNow(name));
    this.#handedBack = metrics.counter(
      "popmesh_sidecar_handed_back_total",
      "Messages that were popped, could not be delivered and were given back.",
    );
  }

  /** The route of "<namespace>/<topic>" if it is here: the hot path. Undefined: ask `topic`. */
  topicNow(name: string): TopicRoute | undefined {
    const lookup = this.#routes.topic(name);
    return lookup.kind === "present" ? lookup.value : undefined;
  }

  /** The policy of a call's group; of a broadcast group, that of the instance that calls. Undefined: ask `groupOf`. */
  groupNow(call: MeshCall): GroupPolicy | undefined {
    const lookup = this.#routes.group(qualifiedName(call.namespace, call.group));
    if (lookup.kind !== "present") return undefined;
    const found = this.#instanceOf(call, lookup.value);
    return found.ok ? found.value : undefined;
  }

  /** The route of a topic, fetched or created where necessary. */
  topic(name: string, deadlineMs: number, done: (found: Found<TopicRoute>) => void): void {
    const route = this.topicNow(name);
    if (route !== undefined) done({ ok: true, value: route });
    else this.#onDemand.topic(name, deadlineMs, done);
  }

  /** As everybody has it, broadcast group or not. */
  group(name: string, deadlineMs: number, done: (found: Found<GroupPolicy>) => void): void {
    const lookup = this.#routes.group(name);
    if (lookup.kind === "present") done({ ok: true, value: lookup.value });
    else this.#onDemand.group(name, deadlineMs, done);
  }

  groupOf(call: MeshCall, done: (found: Found<GroupPolicy>) => void): void {
    this.group(qualifiedName(call.namespace, call.group), call.deadlineMs, (found) =>
      done(found.ok ? this.#instanceOf(call, found.value) : found),
    );
  }

  #instanceOf({ clientId, group }: MeshCall, policy: GroupPolicy): Found<GroupPolicy> {
    if (policy.instanceExpiryMs !== undefined && clientId === "") {
      const message = `group "${group}" is a broadcast group, and its instances are told apart by the header x-mq-client-id; send one`;
      return { ok: false, code: Code.ClientIdRequired, message };
    }
    return { ok: true, value: this.#instances.of(policy, clientId) };
  }

  send(call: MeshCall, route: TopicRoute, order: SendOrder, done: (answer: UpstreamSendAnswer) => void): void {
    this.#sends.send(call, route, order, done);
  }

  /**
   * Returns a function that gives the wait up; the callback is called all the same. `surplus`: messages that came from another broker
   * beside the answer; they must be given back.
   */
  receive(
    call: MeshCall,
    route: TopicRoute,
    group: GroupPolicy,
    order: ReceiveOrder,
    surplus: (deliveries: readonly Delivery[]) => void,
    done: (answer: UpstreamReceiveAnswer) => void,
  ): () => void {
    const segment = order.takesFromAny
      ? route.readable[this.#clusters.anyIndex(route.readable.length)]
      : readableSegment(route, order.brokerName, () => this.#turn++);
    if (segment === undefined) {
      done(refused(Code.Forbidden, `topic ${route.ref.name} has no readable queue now`));
      return () => {};
    }
    call.lane = receivingLaneOf(this.#instanceLane, this.#lanes?.isOff === true);
    call.cluster = segment.cluster;
    if (!this.#clusters.longPolls.tryTake()) {
      done(refused(Code.TooManyRequests, "polling full: too many receives wait at this sidecar"));
      return () => {};
    }
    const request: UpstreamReceive = {
      topic: route.ref,
      group: group.ref,
      batch: order.batch,
      invisibleMs: order.invisibleMs,
      waitMs: order.waitMs,
      filterType: order.filterType,
      filter: order.filter,
      clientId: call.clientId,
      attemptId: order.attemptId,
      lane: call.lane,
      bytesMax: order.bytesMax,
    };
    const answered = (answer: UpstreamReceiveAnswer) => {
      this.#clusters.longPolls.giveBack();
      done(answer);
    };
    const receiveAt: ReceiveAt = (cluster, waitMs, heard) => {
      const asked = waitMs === request.waitMs ? request : { ...request, waitMs };
      const run = new ReceiveRun(this.#clusters, this.#clock, cluster, asked, call, heard);
      run.start();
      return () => run.cancel();
    };
    if (!order.takesFromAny) return receiveAt(segment.cluster, order.waitMs, answered);
    const clusters = () => (this.topicNow(route.ref.name) ?? route).readable.map(({ cluster }) => cluster);
    const wide = new WideReceive({ clock: this.#clock, clusters, receiveAt, surplus, done: answered });
    wide.start(segment.cluster, order.waitMs);
    return () => wide.cancel();
  }

  /** Acknowledges receipts of one broker. */
  ack(
    call: MeshCall,
    group: GroupRef,
    brokerName: string,
    receipts: readonly string[],
    done: (answer: UpstreamResults) => void,
  ): void {
    const request = { group, receipts };
    this.#settle(call, brokerName, done, (upstream, deadlineMs, answered) =>
      upstream.ack(request, deadlineMs, answered),
    );
  }

  /** Moves the messages of receipts of one broker to the dead-letter queue. */
  deadLetter(
    call: MeshCall,
    group: GroupRef,
    brokerName: string,
    receipts: readonly string[],
    done: (answer: UpstreamResults) => void,
  ): void {
    const request = { group, receipts };
    this.#settle(call, brokerName, done, (upstream, deadlineMs, answered) =>
      upstream.deadLetter(request, deadlineMs, answered),
    );
  }

  /** Ends a transaction of one broker. */
  endTransaction(
    call: MeshCall,
    brokerName: string,
    request: UpstreamTransactionEnd,
    done: (answer: UpstreamDone) => void,
  ): void {
    this.#settle(call, brokerName, done, (upstream, deadlineMs, answered) =>
      upstream.endTransaction(request, deadlineMs, answered),
    );
  }

  /** Takes back a message that waits at one broker. */
  recall(call: MeshCall, brokerName: string, request: UpstreamRecall, done: (answer: UpstreamRecalled) => void): void {
    this.#settle(call, brokerName, done, (upstream, deadlineMs, answered) =>
      upstream.recall(request, deadlineMs, answered),
    );
  }

  /** For what may be repeated: what the first attempt has done is OK the second time. */
  #settle<Answer extends { readonly ok: true }>(
    call: MeshCall,
    brokerName: string,
    done: (answer: Answer | UpstreamFailure) => void,
    ask: (upstream: Upstream, deadlineMs: number, answered: (answer: Answer | UpstreamFailure) => void) => void,
  ): void {
    this.#withBroker(call, brokerName, done, (endpoint, finish) => {
      ask(endpoint.upstream, call.deadlineMs - answerReserveMs, (answer) => {
        if (
          answer.ok ||
          answer.reach === "refused" ||
          answer.code === Code.ProxyTimeout ||
          !hasTimeFor(call, this.#clock)
        ) {
          finish(answer);
          return;
        }
        this.#retries.add();
        call.attempts++;
        const again = this.#clusters.byBrokerName(brokerName) ?? endpoint;
        ask(again.upstream, call.deadlineMs - answerReserveMs, finish);
      });
    });
  }

  /** Changes leases of one broker. */
  change(call: MeshCall, brokerName: string, request: UpstreamChange, done: (answer: UpstreamResults) => void): void {
    // A renewal that was carried out voids the receipt, so a repetition of it would be refused.
    const isRepeatable = request.changes.every(({ kind }) => kind === "extend" || kind === "hand-back");
    this.#withBroker(call, brokerName, done, (endpoint, finish) => {
      endpoint.upstream.change(request, call.deadlineMs - answerReserveMs, (answer) => {
        const mayRepeat =
          !answer.ok &&
          (answer.reach === "not-sent" || (isRepeatable && answer.reach === "unknown")) &&
          answer.code !== Code.ProxyTimeout &&
          hasTimeFor(call, this.#clock);
        if (!mayRepeat) {
          finish(answer);
          return;
        }
        this.#retries.add();
        call.attempts++;
        const again = this.#clusters.byBrokerName(brokerName) ?? endpoint;
        again.upstream.change(request, call.deadlineMs - answerReserveMs, finish);
      });
    });
  }

  /** Tells every broker of a topic of type LITE to which lite topics a client subscribes. The first refusal is the answer. */
  syncLite(
    call: MeshCall,
    route: TopicRoute,
    request: Omit<UpstreamLiteSync, "topic" | "clientId">,
    done: (answer: UpstreamDone) => void,
  ): void {
    let open = route.readable.length;
    let refusal: UpstreamFailure | undefined;
    if (open === 0) done(refused(Code.Forbidden, `topic ${route.ref.name} has no readable queue now`));
    const whole = { ...request, topic: route.ref, clientId: call.clientId };
    for (const { brokerName } of route.readable) {
      this.#withBroker<UpstreamDone & { ok: true }>(
        call,
        brokerName,
        (answer) => {
          if (!answer.ok) refusal ??= answer;
          open--;
          if (open === 0) done(refusal ?? { ok: true });
        },
        (endpoint, finish) => endpoint.upstream.syncLite(whole, call.deadlineMs - answerReserveMs, finish),
      );
    }
  }

  /** Reads a queue of one broker by offset. */
  pull(call: MeshCall, brokerName: string, request: UpstreamPull, done: (answer: UpstreamPullAnswer) => void): void {
    this.#withBroker(call, brokerName, done, (endpoint, finish) =>
      endpoint.upstream.pull(request, call.deadlineMs - answerReserveMs, finish),
    );
  }

  /** Looks an offset up at one broker, or sets a group's. */
  offset(
    call: MeshCall,
    brokerName: string,
    request: UpstreamOffset,
    done: (answer: UpstreamOffsetAnswer) => void,
  ): void {
    this.#withBroker(call, brokerName, done, (endpoint, finish) =>
      endpoint.upstream.offset(request, call.deadlineMs - answerReserveMs, finish),
    );
  }

  /**
   * Changes leases on the sidecar's own account (auto-renewal, hand-back), without a caller. `done` gets one result per
   * change, or the failure.
   */
  changeUnasked(
    brokerName: string,
    request: UpstreamChange,
    patienceMs: number,
    done: (answer: UpstreamResults) => void,
  ): void {
    const deadlineMs = this.#clock.monotonicMs() + patienceMs;
    if (request.changes[0]?.kind === "hand-back") this.#handedBack.add(request.changes.length);
    const endpoint = this.#clusters.byBrokerName(brokerName);
    if (endpoint === undefined) done(noSuchBroker(brokerName));
    else endpoint.upstream.change(request, deadlineMs, done);
  }

  #withBroker<Answer extends { readonly ok: true }>(
    call: MeshCall,
    brokerName: string,
    done: (answer: Answer | UpstreamFailure) => void,
    act: (endpoint: Endpoint, finish: (answer: Answer | UpstreamFailure) => void) => void,
  ): void {
    const endpoint = this.#clusters.byBrokerName(brokerName);
    if (endpoint !== undefined) {
      call.cluster = endpoint.cluster;
      call.attempts++;
      act(endpoint, done);
      return;
    }
    this.#onDemand.broker(brokerName, call.deadlineMs, (found) => {
      const late = found.ok ? this.#clusters.byBrokerName(brokerName) : undefined;
      if (late === undefined) {
        done(found.ok ? noSuchBroker(brokerName) : refused(found.code, found.message));
        return;
      }
      call.cluster = late.cluster;
      call.attempts++;
      act(late, done);
    });
  }
}

function noSuchBroker(brokerName: string): UpstreamFailure {
  return {
    ok: false,
    code: Code.ProxyTimeout,
    message: `broker "${brokerName}" cannot be reached now`,
    reach: "not-sent",
  };
}
