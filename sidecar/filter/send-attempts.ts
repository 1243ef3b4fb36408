import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Counter } from "../../proto/runtime/metric.ts";
import { type ClusterManager, outcomeOf } from "../cluster/cluster-manager.ts";
import type { Endpoint } from "../cluster/endpoint.ts";
import { SettledGroups } from "../route/settled-groups.ts";
import type { TopicRoute } from "../route/topic-route.ts";
import type { UpstreamFailure, UpstreamSendAnswer } from "../upstream/upstream.ts";
import { answerReserveMs, hasTimeFor } from "./deadline.ts";
import type { MeshCall } from "./filter.ts";
import { refused } from "./refused.ts";

/** A send as it leaves the listener. The views in `messages` are valid until `send` returns. */
export interface SendOrder {
  readonly messages: readonly Uint8Array[];
  /** "" for none. */
  readonly messageGroup: string;
  readonly bornHost: string;
  /** Lane that all of them are marked with. */
  readonly laneMark: string;
}

/** The control plane pushes a change to every sidecar within a second. */
const newerRouteMsMax = 2_000;
const newerRouteLookMs = 20;

/** Of a send that belongs to no message group, or to one that always had this home. */
const anyPlace = { groupSpread: 0, isEarlierHome: false };

/**
 * Sends a batch to a broker of its topic's route. It goes to another one only if the first provably took nothing, once, within
 * the retry budget; never after a timeout (S2).
 */
export class SendAttempts {
  readonly #clusters: ClusterManager;
  readonly #clock: Clock;
  readonly #retries: Counter;
  readonly #newest: (topic: string) => TopicRoute | undefined;
  readonly #settled = new SettledGroups();

  /** `retries` counts attempts beyond the first; `newest` gives the route of a topic that is in force. */
  constructor(
    clusters: ClusterManager,
    clock: Clock,
    retries: Counter,
    newest: (topic: string) => TopicRoute | undefined,
  ) {
    this.#clusters = clusters;
    this.#clock = clock;
    this.#retries = retries;
    this.#newest = newest;
  }

  /** `done` is called once, before the deadline of the call. */
  send(call: MeshCall, route: TopicRoute, order: SendOrder, done: (answer: UpstreamSendAnswer) => void): void {
    call.lane = order.laneMark;
    if (order.messageGroup !== "" && (route.groupSpread !== undefined || route.segments.length > 1)) {
      this.#clusters.retryBudget.beginCall();
      // The views die when this returns; another broker may have to be asked.
      const kept = { ...order, messages: order.messages.map((view) => Buffer.from(view)) };
      this.#sendToHome(call, route, kept, (answer) => {
        this.#clusters.retryBudget.endCall();
        done(answer);
      });
      return;
    }
    const clusterNames = writableClusters(route);
    const endpoint = this.#clusters.pickForSend(clusterNames);
    if (endpoint === undefined) {
      done(clusterNames.length === 0 ? notWritable(route) : noBroker(route));
      return;
    }
    this.#clusters.retryBudget.beginCall();
    // The views die when this returns; a second attempt, which only several brokers allow, needs the bytes.
    const isRetryable = clusterNames.length > 1;
    const kept = isRetryable ? { ...order, messages: order.messages.map((view) => Buffer.from(view)) } : order;
    this.#sendTo(endpoint, call, route, kept, anyPlace, (answer) => {
      if (answer.ok || !wasNotTaken(answer) || !isRetryable || !hasTimeFor(call, this.#clock)) {
        this.#clusters.retryBudget.endCall();
        done(answer);
        return;
      }
      const other = this.#clusters.pickForSend(clusterNames, endpoint);
      if (other === undefined || !this.#clusters.retryBudget.tryRetry()) {
        this.#clusters.retryBudget.endCall();
        done(answer);
        return;
      }
      this.#retries.add();
      this.#sendTo(other, call, route, kept, anyPlace, (second) => {
        this.#clusters.retryBudget.endRetry();
        this.#clusters.retryBudget.endCall();
        done(second);
      });
    });
  }

  /**
   * To the broker that has the message group, which may be an earlier home of it: whoever does not take it any more says so. When nobody
   * takes it the brokers know of a newer route: it is on its way here, too.
   */
  #sendToHome(call: MeshCall, route: TopicRoute, order: SendOrder, done: (answer: UpstreamSendAnswer) => void): void {
    if (route.writable.length === 0) {
      done(notWritable(route));
      return;
    }
    const homes = this.#settled.homes(route, order.messageGroup);
    const ask = (at: number): void => {
      const home = homes[at];
      const endpoint = home && this.#clusters.pickForSend([home.cluster]);
      if (endpoint === undefined) {
        done(home === undefined ? noBroker(route) : noHome(route, home.brokerName));
        return;
      }
      const isLast = at + 1 === homes.length;
      const place = { groupSpread: route.groupSpread?.number ?? 0, isEarlierHome: !isLast };
      this.#sendTo(endpoint, call, route, order, place, (answer) => {
        if (answer.ok || answer.reach !== "moved") {
          if (answer.ok && isLast && at > 0) this.#settled.note(route, order.messageGroup);
          done(answer);
          return;
        }
        if (!isLast && hasTimeFor(call, this.#clock)) {
          ask(at + 1);
          return;
        }
        this.#whenNewer(call, route, (newer) => {
          if (newer === undefined) done(answer);
          else this.#sendToHome(call, newer, order, done);
        });
      });
    };
    ask(0);
  }

  /** Waits for a newer route of a topic; without one when it does not come in time. */
  #whenNewer(call: MeshCall, route: TopicRoute, then: (newer: TopicRoute | undefined) => void): void {
    const endMs = this.#clock.monotonicMs() + newerRouteMsMax;
    const look = (): void => {
      const newest = this.#newest(route.ref.name);
      if (newest !== undefined && newest !== route) then(newest);
      else if (this.#clock.monotonicMs() >= endMs || !hasTimeFor(call, this.#clock)) then(undefined);
      else this.#clock.after(newerRouteLookMs, look);
    };
    look();
  }

  #sendTo(
    endpoint: Endpoint,
    call: MeshCall,
    route: TopicRoute,
    { bornHost, messages }: SendOrder,
    { groupSpread, isEarlierHome }: typeof anyPlace,
    done: (answer: UpstreamSendAnswer) => void,
  ): void {
    call.cluster = endpoint.cluster;
    call.attempts++;
    endpoint.upstream.send(
      { topic: route.ref, laneMark: call.lane, bornHost, messages, groupSpread, isEarlierHome },
      call.deadlineMs - answerReserveMs,
      (answer) => {
        this.#clusters.reportSend(endpoint, outcomeOf(answer));
        done(answer);
      },
    );
  }
}

/** Cluster names by route, made once per route version. */
const writableNames = new WeakMap<TopicRoute, readonly string[]>();

function writableClusters(route: TopicRoute): readonly string[] {
  let names = writableNames.get(route);
  if (names === undefined) {
    names = route.writable.map((segment) => segment.cluster);
    writableNames.set(route, names);
  }
  return names;
}

/** Provably nothing was taken: another broker may be tried. */
function wasNotTaken({ reach }: UpstreamFailure): boolean {
  return reach === "not-sent" || reach === "moved";
}

function notWritable(route: TopicRoute): UpstreamFailure {
  return refused(Code.Forbidden, `topic ${route.ref.name} has no writable queue now`);
}

function noBroker(route: TopicRoute): UpstreamFailure {
  const names = route.writable.map((segment) => segment.brokerName).join(", ");
  return {
    ok: false,
    code: Code.InternalServerError,
    message: `no broker of topic ${route.ref.name} takes sends now (brokers: ${names}); nothing was sent`,
    reach: "not-sent",
  };
}

/** Nobody else may take the message: it could be consumed before what that broker still holds. */
function noHome(route: TopicRoute, brokerName: string): UpstreamFailure {
  return {
    ok: false,
    code: Code.InternalServerError,
    message:
      `broker ${brokerName} has the message group in topic ${route.ref.name}, or may have messages of it left, and takes no sends now; ` +
      "nothing was sent. Send again when it is back; if it is gone for good: popmesh forget-broker",
    reach: "not-sent",
  };
}
