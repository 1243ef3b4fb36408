import { Code } from "../../proto/code.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { type ClusterManager, outcomeOf } from "../cluster/cluster-manager.ts";
import type { UpstreamReceive, UpstreamReceiveAnswer } from "../upstream/upstream.ts";
import type { MeshCall } from "./filter.ts";

/** The broker ends a poll this long before our own patience does, so that an empty answer still arrives. */
const brokerReserveMs = 100;
/** Not worth another attempt. */
const remainingMsMin = 200;

/**
 * One receive from its first attempt to its answer. While the broker cannot be reached it waits, within the poll's own time,
 * for its turn as a probe or for the broker's return; a poll therefore outlives a restart of the broker.
 */
export class ReceiveRun {
  readonly #clusters: ClusterManager;
  readonly #clock: Clock;
  readonly #cluster: string;
  readonly #request: UpstreamReceive;
  readonly #call: MeshCall;
  readonly #done: (answer: UpstreamReceiveAnswer) => void;
  readonly #endMs: number;
  #isCancelled = false;
  #isDone = false;
  #isInstanceRenewed = false;
  #timer: Timer | undefined;
  #cancelAttempt: (() => void) | undefined;

  constructor(
    clusters: ClusterManager,
    clock: Clock,
    cluster: string,
    request: UpstreamReceive,
    call: MeshCall,
    done: (answer: UpstreamReceiveAnswer) => void,
  ) {
    this.#clusters = clusters;
    this.#clock = clock;
    this.#cluster = cluster;
    this.#request = request;
    this.#call = call;
    this.#done = done;
    this.#endMs = clock.monotonicMs() + request.waitMs;
  }

  start(): void {
    this.#attempt(this.#request.waitMs);
  }

  /** Nobody waits for the answer any more. It comes all the same, soon, and may carry messages. */
  cancel(): void {
    if (this.#isDone || this.#isCancelled) return;
    this.#isCancelled = true;
    if (this.#cancelAttempt !== undefined) {
      this.#cancelAttempt();
      return;
    }
    this.#timer?.cancel();
    this.#finish({ ok: true, deliveries: [] });
  }

  #attempt(waitMs: number): void {
    this.#timer = undefined;
    const endpoint = this.#clusters.home(this.#cluster);
    if (endpoint === undefined) {
      this.#waitForBroker(remainingMsMin);
      return;
    }
    const admission = this.#clusters.admitReceive(endpoint);
    if (admission.kind === "wait") {
      this.#waitForBroker(admission.waitMs);
      return;
    }
    this.#call.attempts++;
    const request = waitMs === this.#request.waitMs ? this.#request : { ...this.#request, waitMs };
    const deadlineMs = Math.min(
      this.#call.deadlineMs - brokerReserveMs / 2,
      this.#clock.monotonicMs() + waitMs + 2_000,
    );
    this.#cancelAttempt = endpoint.upstream.receive(request, deadlineMs, (answer) => {
      this.#cancelAttempt = undefined;
      this.#clusters.reportReceive(endpoint, outcomeOf(answer), admission.kind === "probe");
      if (this.#isForgottenInstance(answer)) this.#retryOrFinish(answer);
      else if (this.#isCancelled || outcomeOf(answer) === "answered") this.#finish(answer);
      else this.#retryOrFinish(answer);
    });
  }

  /** The client was gone for so long that its instance of a broadcast group is forgotten: the next attempt makes a new one. */
  #isForgottenInstance(answer: UpstreamReceiveAnswer): boolean {
    const isForgotten = !answer.ok && answer.code === Code.ConsumerGroupNotFound;
    if (!isForgotten || this.#request.group.broadcast === undefined || this.#isInstanceRenewed) return false;
    this.#isInstanceRenewed = true;
    return true;
  }

  #retryOrFinish(answer: UpstreamReceiveAnswer): void {
    const remainingMs = this.#endMs - this.#clock.monotonicMs();
    if (remainingMs < remainingMsMin) this.#finish(answer);
    else this.#waitForBroker(0);
  }

  #waitForBroker(waitMs: number): void {
    const remainingMs = this.#endMs - this.#clock.monotonicMs();
    if (remainingMs < remainingMsMin) {
      const brokerName = this.#cluster.slice(this.#cluster.indexOf("/") + 1);
      this.#finish({
        ok: false,
        code: Code.ProxyTimeout,
        message: `broker "${brokerName}" cannot be reached now; nothing was received`,
        reach: "not-sent",
      });
      return;
    }
    // The driver may answer at once while it reconnects: never ask again in the same turn.
    const pauseMs = Math.min(Math.max(waitMs, 20), remainingMs);
    this.#timer = this.#clock.after(Math.ceil(pauseMs), () => {
      this.#attempt(Math.max(0, this.#endMs - this.#clock.monotonicMs()));
    });
  }

  #finish(answer: UpstreamReceiveAnswer): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#done(answer);
  }
}
