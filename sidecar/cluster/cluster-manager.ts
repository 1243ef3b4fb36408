import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { fullJitter, type Randomness } from "../../proto/runtime/randomness.ts";
import type { FailureReach, LaneConsumer, OrphanedTransaction, Upstream } from "../upstream/upstream.ts";
import { type CircuitLimits, defaultCircuitLimits, PlaceLimit, RetryBudget } from "./circuit-limits.ts";
import { brokerNameOf, type ClusterSnapshot, clusterNameOf, type EndpointSnapshot } from "./cluster-snapshot.ts";
import { Endpoint, endpointAddress } from "./endpoint.ts";
import { afterFailure, afterSuccess, isEjected, mayEject } from "./outlier-detector.ts";
import { homeEndpoint, Picker, sendCandidates } from "./picker.ts";
import { admitReceive, afterReceiveFailure, afterReceiveSuccess } from "./receive-backoff.ts";

/** Makes the driver for one broker; it connects by itself. */
export type UpstreamFactory = (brokerName: string, at: EndpointSnapshot) => Upstream;

export interface ClusterManagerDeps {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  readonly createUpstream: UpstreamFactory;
  readonly limits?: CircuitLimits;
}

/** How a call ended, as far as health is concerned. */
export type CallOutcome = "answered" | "transport-failure";

/**
 * A failed call speaks against the endpoint only if the transport failed: a broker that refuses is alive.
 */
export function outcomeOf(
  answer: { readonly ok: true } | { readonly ok: false; readonly reach: FailureReach },
): CallOutcome {
  return answer.ok || answer.reach === "refused" || answer.reach === "moved" ? "answered" : "transport-failure";
}

/** Open requests of an endpoint that left the configuration get this long to finish. */
const retireGraceMs = 30_000;
/** Pickers kept for the sets of clusters that routes name; a route has few, so this covers thousands of topics. */
const pickersKept = 4096;

/**
 * The broker groups this sidecar knows, each with its endpoints and their connections. The xds stage applies snapshots;
 * the router picks who gets a send, finds who serves a receive, and looks up the broker named by a receipt.
 */
export class ClusterManager {
  readonly retryBudget = new RetryBudget();
  readonly longPolls: PlaceLimit;
  readonly #deps: ClusterManagerDeps;
  readonly #clusters = new Map<string, readonly Endpoint[]>();
  /** Left the configuration, finishing; still found by receipts. */
  readonly #retiring = new Set<Endpoint>();
  readonly #pickers = new Map<string, Picker>();
  readonly #fraction: () => number;
  /** Topics with live producers here. */
  readonly #produced = new Set<string>();
  #consumers: readonly LaneConsumer[] = [];
  #returnTimer: Timer | undefined;
  #isClosed = false;
  /** Called when a broker asks about an open transaction. False: there is no live producer of its topic. */
  onOrphan: (orphan: OrphanedTransaction) => boolean = () => false;

  constructor(deps: ClusterManagerDeps) {
    this.#deps = deps;
    this.#fraction = () => deps.randomness.fraction();
    this.longPolls = new PlaceLimit((deps.limits ?? defaultCircuitLimits).longPollsMax);
  }

  /** All clusters in force, by name; for the admin port and tests. */
  get clusters(): ReadonlyMap<string, readonly Endpoint[]> {
    return this.#clusters;
  }

  /** Puts a cluster in force or replaces it. Endpoints that stay keep their connection and what was learned of them. */
  apply(snapshot: ClusterSnapshot): void {
    if (this.#isClosed) return;
    const before = new Map((this.#clusters.get(snapshot.name) ?? []).map((endpoint) => [endpoint.address, endpoint]));
    const after = new Map<string, Endpoint>();
    for (const at of snapshot.endpoints) {
      const address = endpointAddress(at);
      if (after.has(address)) continue;
      const kept = before.get(address);
      if (kept !== undefined) {
        kept.health = at.health;
        kept.priority = at.priority;
      }
      after.set(address, kept ?? this.#newEndpoint(snapshot.name, at));
    }
    this.#clusters.set(snapshot.name, [...after.values()]);
    this.#pickers.clear();
    for (const [address, endpoint] of before) if (!after.has(address)) this.#retire(endpoint);
  }

  /** The cluster does not exist any more. */
  remove(name: string): void {
    const endpoints = this.#clusters.get(name);
    if (endpoints === undefined) return;
    this.#clusters.delete(name);
    this.#pickers.clear();
    for (const endpoint of endpoints) this.#retire(endpoint);
  }

  /** The view of who takes sends among these clusters: those of a topic's writable segments. */
  picker(clusterNames: readonly string[]): Picker {
    const key = clusterNames.length === 1 ? clusterNames[0]! : clusterNames.join("\n");
    let picker = this.#pickers.get(key);
    if (picker === undefined) {
      const nowMs = this.#deps.clock.monotonicMs();
      const endpoints = clusterNames.flatMap((name) => this.#clusters.get(name) ?? []);
      picker = new Picker(sendCandidates(endpoints, (endpoint) => isEjected(endpoint.outlier, nowMs)));
      if (this.#pickers.size >= pickersKept) this.#pickers.clear();
      this.#pickers.set(key, picker);
    }
    return picker;
  }

  /** Who gets a send; undefined when nobody can. `excluded` was tried already. */
  pickForSend(clusterNames: readonly string[], excluded?: Endpoint): Endpoint | undefined {
    return this.picker(clusterNames).pick(this.#fraction, excluded);
  }

  /** One of `count`, by chance: turns that several clients take together would give each always the same. */
  anyIndex(count: number): number {
    return Math.floor(this.#fraction() * count);
  }

  /** Who serves receives, acks and changes of a cluster. Undefined: the cluster is unknown or empty. */
  home(clusterName: string): Endpoint | undefined {
    return homeEndpoint(this.#clusters.get(clusterName) ?? []);
  }

  /** Who holds the messages of a receipt's broker, also while it is leaving. Undefined: subscribe to its cluster first. */
  byBrokerName(brokerName: string): Endpoint | undefined {
    const endpoint = this.home(clusterNameOf(brokerName));
    if (endpoint !== undefined) return endpoint;
    for (const retiring of this.#retiring) if (retiring.upstream.brokerName === brokerName) return retiring;
    return undefined;
  }

  /** Tells how a send ended; enough failures in a row eject the endpoint from sends for a while. */
  reportSend(endpoint: Endpoint, outcome: CallOutcome): void {
    if (outcome === "answered") {
      endpoint.outlier = afterSuccess(endpoint.outlier);
      return;
    }
    const nowMs = this.#deps.clock.monotonicMs();
    const before = endpoint.outlier;
    endpoint.outlier = afterFailure(before, nowMs, () => this.#mayEject(nowMs));
    if (endpoint.outlier.ejectedUntilMs <= before.ejectedUntilMs) return;
    const forMs = endpoint.outlier.ejectedUntilMs - nowMs;
    this.#deps.log.warn(
      { cluster: endpoint.cluster, endpoint: endpoint.address, forMs },
      "broker gets no sends for a while: too many failed in a row",
    );
    this.#pickers.clear();
    this.#scheduleReturn(nowMs);
  }

  /** Tells every broker, also those that come later, whether there is a live producer of a topic here. */
  announceProducer(topic: string, isLive: boolean): void {
    if (isLive) this.#produced.add(topic);
    else this.#produced.delete(topic);
    for (const endpoints of this.#clusters.values()) {
      for (const { upstream } of endpoints) upstream.announceProducer(topic, isLive);
    }
  }

  /**
   * Tells every broker which consumers are there in this sidecar's lane: also those that come later, and those that finish, which would
   * believe until their end that somebody is there who has gone.
   */
  announceConsumers(consumers: readonly LaneConsumer[]): void {
    this.#consumers = consumers;
    for (const { upstream } of [...[...this.#clusters.values()].flat(), ...this.#retiring]) {
      upstream.announceConsumers(consumers);
    }
  }

  /** Asks whether a receive may go to the broker now; see `ReceiveAdmission`. */
  admitReceive(
    endpoint: Endpoint,
  ): { readonly kind: "go" | "probe" } | { readonly kind: "wait"; readonly waitMs: number } {
    const admission = admitReceive(endpoint.receiveBackoff, this.#deps.clock.monotonicMs());
    if (admission.kind === "probe") endpoint.receiveBackoff = admission.state;
    return admission;
  }

  /** Tells how an admitted receive ended. */
  reportReceive(endpoint: Endpoint, outcome: CallOutcome, wasProbe: boolean): void {
    endpoint.receiveBackoff =
      outcome === "answered"
        ? afterReceiveSuccess(endpoint.receiveBackoff)
        : afterReceiveFailure(
            endpoint.receiveBackoff,
            this.#deps.clock.monotonicMs(),
            wasProbe,
            fullJitter(this.#deps.randomness, 1),
          );
  }

  /** Waits for open requests up to `graceMs`, then closes every connection. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    this.#returnTimer?.cancel();
    const endpoints = [...this.#clusters.values()].flat().concat(...this.#retiring);
    this.#clusters.clear();
    this.#pickers.clear();
    await Promise.all(endpoints.map((endpoint) => endpoint.upstream.close(graceMs)));
  }

  #newEndpoint(cluster: string, at: EndpointSnapshot): Endpoint {
    const upstream = this.#deps.createUpstream(brokerNameOf(cluster), at);
    for (const topic of this.#produced) upstream.announceProducer(topic, true);
    if (this.#consumers.length > 0) upstream.announceConsumers(this.#consumers);
    upstream.onOrphan = (orphan) => {
      // The question crossed our last word on it, or got lost in a newer process of the broker: it is said again.
      if (!this.onOrphan(orphan)) upstream.announceProducer(orphan.topic, false);
    };
    return new Endpoint(cluster, at, upstream);
  }

  #retire(endpoint: Endpoint): void {
    this.#retiring.add(endpoint);
    endpoint.upstream
      .close(retireGraceMs)
      .catch((error: unknown) => this.#deps.log.warn({ err: error, endpoint: endpoint.address }, "closing failed"))
      .finally(() => this.#retiring.delete(endpoint));
  }

  #mayEject(nowMs: number): boolean {
    let count = 0;
    let ejected = 0;
    for (const endpoints of this.#clusters.values()) {
      for (const endpoint of endpoints) {
        if (endpoint.health !== "healthy") continue;
        count++;
        if (isEjected(endpoint.outlier, nowMs)) ejected++;
      }
    }
    return mayEject(count, ejected);
  }

  /** New pickers when the next ejection ends. */
  #scheduleReturn(nowMs: number): void {
    this.#returnTimer?.cancel();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const endpoints of this.#clusters.values()) {
      for (const { outlier } of endpoints)
        if (isEjected(outlier, nowMs)) nextMs = Math.min(nextMs, outlier.ejectedUntilMs);
    }
    if (nextMs === Number.POSITIVE_INFINITY) return;
    this.#returnTimer = this.#deps.clock.after(Math.ceil(nextMs - nowMs), () => {
      this.#pickers.clear();
      this.#scheduleReturn(this.#deps.clock.monotonicMs());
    });
  }
}
