import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Delivery, UpstreamReceiveAnswer } from "../upstream/upstream.ts";

/** Begins a receive at one broker group; returns how to give it up. It answers all the same. */
export type ReceiveAt = (cluster: string, waitMs: number, done: (answer: UpstreamReceiveAnswer) => void) => () => void;

export interface WideReceiveDeps {
  readonly clock: Clock;
  /** The broker groups that hold the topic, as of now. */
  readonly clusters: () => readonly string[];
  readonly receiveAt: ReceiveAt;
  /** Messages that came beside the answer: they go back. */
  readonly surplus: (deliveries: readonly Delivery[]) => void;
  readonly done: (answer: UpstreamReceiveAnswer) => void;
}

/** One that waits looks this often for brokers that have come. */
const lookAgainMs = 1_000;

/**
 * One receive of a client that takes what any broker of the topic has: a simple consumer, which asks the brokers of its route by turns. One
 * that has nothing would hold its poll up while another has messages; and of a broker that came after its last look at the route (the
 * SDKs look every 30 s) it knows nothing. So one broker is asked without waiting, and when that has nothing all of them are waited for,
 * those too that come meanwhile. The first messages are the answer.
 */
export class WideReceive {
  readonly #deps: WideReceiveDeps;
  readonly #waited = new Set<string>();
  readonly #cancels: (() => void)[] = [];
  #timer: Timer | undefined;
  #endMs = 0;
  /** Receives that have not answered yet. */
  #open = 0;
  #nothing: UpstreamReceiveAnswer | undefined;
  #isCancelled = false;
  #isDone = false;

  constructor(deps: WideReceiveDeps) {
    this.#deps = deps;
  }

  /** `first`: the broker group that is asked first. */
  start(first: string, waitMs: number): void {
    this.#endMs = this.#deps.clock.monotonicMs() + waitMs;
    if (this.#deps.clusters().length <= 1) {
      this.#waitEverywhere();
      return;
    }
    this.#begin(first, 0, (answer) => {
      if (isResult(answer) || this.#isCancelled || this.#leftMs === 0) this.#finish(answer);
      else this.#waitEverywhere();
    });
  }

  /** Nobody waits for the answer any more. It comes all the same, soon, and may carry messages. */
  cancel(): void {
    this.#isCancelled = true;
    for (const cancel of this.#cancels) cancel();
  }

  get #leftMs(): number {
    return Math.max(0, this.#endMs - this.#deps.clock.monotonicMs());
  }

  #waitEverywhere(): void {
    const come = this.#deps.clusters().filter((cluster) => !this.#waited.has(cluster));
    this.#open += come.length;
    // The topic has lost all its brokers since it was looked up.
    if (this.#open === 0) this.#finish({ ok: true, deliveries: [] });
    for (const cluster of come) {
      this.#waited.add(cluster);
      this.#begin(cluster, this.#leftMs, (answer) => this.#answered(answer));
    }
    if (this.#isDone || this.#isCancelled || this.#leftMs <= lookAgainMs) return;
    this.#timer = this.#deps.clock.after(lookAgainMs, () => this.#waitEverywhere());
  }

  #begin(cluster: string, waitMs: number, done: (answer: UpstreamReceiveAnswer) => void): void {
    const cancel = this.#deps.receiveAt(cluster, waitMs, done);
    this.#cancels.push(cancel);
    // An answer may have come before this one was begun.
    if (this.#isDone || this.#isCancelled) cancel();
  }

  #answered(answer: UpstreamReceiveAnswer): void {
    this.#open--;
    if (this.#isDone) {
      if (answer.ok && answer.deliveries.length > 0) this.#deps.surplus(answer.deliveries);
      return;
    }
    if (isResult(answer)) {
      this.#finish(answer);
      for (const cancel of this.#cancels) cancel();
      return;
    }
    // That one of several brokers cannot be reached is no answer while others have nothing.
    if (answer.ok || this.#nothing === undefined) this.#nothing = answer;
    if (this.#open === 0) this.#finish(this.#nothing);
  }

  #finish(answer: UpstreamReceiveAnswer): void {
    this.#isDone = true;
    this.#timer?.cancel();
    this.#deps.done(answer);
  }
}

/** Messages, or a broker's word that this receive cannot be served. */
function isResult(answer: UpstreamReceiveAnswer): boolean {
  return answer.ok ? answer.deliveries.length > 0 : answer.reach === "refused";
}
