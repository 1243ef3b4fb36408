import { status as GrpcStatus } from "@grpc/grpc-js";
import type { envoy } from "#codec/xds-v3";
import type { ResourceEntry, ResourceTable } from "../snapshot/resource-table.ts";
import { flushRank, ResourceType } from "../snapshot/resource-type.ts";
import {
  type AdsStream,
  type HeldResource,
  isPossibleName,
  responseBytesTarget,
  type StreamEnd,
  type StreamEvents,
  streamLimits,
} from "./ads-stream.ts";
import { DeltaType } from "./delta-type.ts";
import type { ResponseEncoder } from "./response-encoder.ts";
import type { SubscriptionIndex } from "./subscription-index.ts";

type Request = envoy.service.discovery.v3.DeltaDiscoveryRequest;

/** A client that announces this is sent what a topic refers to before the topic, unasked. */
const prefetchFeature = "popmesh.prefetch";

/** Types whose first request without names means "everything", as old clients want it. For ours it means "nothing yet". */
const legacyWildcardTypes: ReadonlySet<string> = new Set([ResourceType.Cluster, ResourceType.Listener]);

export interface DeltaStreamOptions {
  readonly table: ResourceTable;
  readonly index: SubscriptionIndex;
  readonly encoder: ResponseEncoder;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

/**
 * One delta ADS stream. Per type at most one response waits for its answer; what becomes due meanwhile is merged and leaves
 * with the answer, so a slow client costs a bounded amount and gets the newest state. D1 to D14 name the rules of the delta
 * protocol that the code follows; test/unit/control-plane/xds/delta-stream.test.ts has one test for each.
 */
export class DeltaStream implements AdsStream {
  /** Of the server: the same for all its streams. */
  readonly #options: DeltaStreamOptions;
  readonly #events: StreamEvents;
  /** In flush order. */
  #types: DeltaType[] = [];
  #node: Request["node"] | undefined;
  #nameCount = 0;
  #isClosed = false;

  constructor(options: DeltaStreamOptions, events: StreamEvents) {
    this.#options = options;
    this.#events = events;
  }

  get node(): envoy.config.core.v3.Node | undefined {
    return this.#node ?? undefined;
  }

  /** Takes a request and sends what it makes due. A result means that the stream must end so. */
  request(request: Request): StreamEnd | undefined {
    const refusal = this.#refuse(request);
    if (refusal !== undefined) return refusal;
    this.#node ??= request.node ?? undefined;
    const known = this.#type(request.typeUrl);
    const type = known ?? this.#addType(request.typeUrl);
    this.#noteAnswer(type, request);
    this.#applySubscriptions(type, request, known === undefined);
    if (this.#nameCount > streamLimits.names) {
      return {
        code: GrpcStatus.RESOURCE_EXHAUSTED,
        details: `more than ${streamLimits.names} names on one stream; unsubscribe what is no longer used`,
      };
    }
    this.flush();
    return undefined;
  }

  changed(typeUrl: string, name: string): void {
    this.#type(typeUrl)?.markDue(name, "changed");
  }

  flush(): void {
    if (this.#isClosed) return;
    this.#markClosure();
    for (const type of this.#types) this.#flushType(type);
  }

  unansweredSinceMs(): number | undefined {
    let oldest: number | undefined;
    for (const { inFlight } of this.#types) {
      if (inFlight !== undefined && (oldest === undefined || inFlight.sentMs < oldest)) oldest = inFlight.sentMs;
    }
    return oldest;
  }

  held(): HeldResource[] {
    return this.#types.flatMap((type) => type.held());
  }

  close(): void {
    this.#isClosed = true;
    for (const { typeUrl, subscribed, wildcard } of this.#types) {
      for (const name of subscribed) this.#options.index.remove(typeUrl, name, this);
      if (wildcard) this.#options.index.removeWildcard(typeUrl, this);
    }
    this.#types = [];
  }

  #refuse(request: Request): StreamEnd | undefined {
    const invalid = (details: string) => ({ code: GrpcStatus.INVALID_ARGUMENT, details });
    if (this.#node === undefined && request.node === null)
      return invalid("the first request of a stream must name its node");
    if (request.typeUrl === "")
      return invalid("type_url is missing; on an aggregated stream each request names its type");
    const isKnown = this.#type(request.typeUrl) !== undefined;
    if (!isKnown && this.#types.length >= streamLimits.types) return invalid(`more than ${streamLimits.types} types`);
    const count = request.resourceNamesSubscribe.length + request.resourceNamesUnsubscribe.length;
    const countMax = isKnown ? streamLimits.namesPerRequest : streamLimits.names;
    return count > countMax ? invalid(`${count} names in one request; at most ${countMax} are taken`) : undefined;
  }

  #type(typeUrl: string): DeltaType | undefined {
    for (const type of this.#types) if (type.typeUrl === typeUrl) return type;
    return undefined;
  }

  #addType(typeUrl: string): DeltaType {
    const type = new DeltaType(typeUrl, this.#options.table);
    this.#types.push(type);
    this.#types.sort((a, b) => flushRank(a.typeUrl) - flushRank(b.typeUrl));
    return type;
  }

  /** A nonce pairs an ACK or NACK with its response and does nothing else: the rest of the request always counts (D7, D8). */
  #noteAnswer(type: DeltaType, request: Request): void {
    if (request.responseNonce === "") return;
    const reason = request.errorDetail === null ? undefined : shortened(request.errorDetail.message);
    if (!type.answered(request.responseNonce, reason)) return;
    if (reason === undefined) this.#events.acked(type.typeUrl);
    else this.#events.nacked(type.typeUrl, reason);
  }

  #applySubscriptions(type: DeltaType, request: Request, isFirst: boolean): void {
    const subscribe = new Set(request.resourceNamesSubscribe);
    const unsubscribe = new Set(request.resourceNamesUnsubscribe);
    const wantsNothingYet = subscribe.has("*") && unsubscribe.has("*");
    const startsWildcard =
      (subscribe.has("*") && !wantsNothingYet) ||
      (isFirst && subscribe.size === 0 && !type.named && legacyWildcardTypes.has(type.typeUrl));
    if (subscribe.size > 0 || unsubscribe.size > 0) type.named = true;
    subscribe.delete("*");
    for (const name of subscribe)
      this.#subscribe(type, name, isFirst ? request.initialResourceVersions[name] : undefined);
    if (unsubscribe.delete("*") && type.wildcard) {
      type.wildcard = false;
      type.forgetUnnamed();
      this.#options.index.removeWildcard(type.typeUrl, this);
    }
    for (const name of unsubscribe) if (!subscribe.has(name)) this.#unsubscribe(type, name);
    if (startsWildcard) this.#startWildcard(type, isFirst ? request.initialResourceVersions : {});
    if (isFirst) this.#reportVanished(type, request.initialResourceVersions);
  }

  /** D1: always answered. D2: but on the first request of a type not what the client reports to hold. */
  #subscribe(type: DeltaType, name: string, heldVersion: string | undefined): void {
    if (!isPossibleName(name)) {
      type.markDue(name, "asked");
      return;
    }
    if (!type.isSubscribed(name)) {
      this.#nameCount++;
      type.subscribe(this.#options.index.add(type.typeUrl, name, this));
    }
    const version = this.#options.table.get(type.typeUrl, name)?.version;
    if (version !== undefined && heldVersion === version) type.trust(name, version);
    else type.markDue(name, "asked");
  }

  /** D5: silence. D6: but what `*` still covers is told again, so that the client need not know which of both it was. */
  #unsubscribe(type: DeltaType, name: string): void {
    if (!type.unsubscribe(name)) return;
    this.#nameCount--;
    this.#options.index.remove(type.typeUrl, name, this);
    if (type.wildcard) type.markDue(name, "asked");
  }

  #startWildcard(type: DeltaType, heldVersions: Readonly<Record<string, string>>): void {
    if (!type.wildcard) this.#options.index.addWildcard(type.typeUrl, this);
    type.wildcard = true;
    for (const name of this.#options.table.names(type.typeUrl)) {
      const version = this.#options.table.get(type.typeUrl, name)?.version;
      if (version !== undefined && heldVersions[name] === version) type.trust(name, version);
      else type.markDue(name, "changed");
    }
    type.owesAnswer = Object.keys(heldVersions).length === 0;
  }

  /** D13: what the client holds from an earlier stream and is gone now. */
  #reportVanished(type: DeltaType, heldVersions: Readonly<Record<string, string>>): void {
    for (const name of Object.keys(heldVersions)) {
      if (this.#options.table.get(type.typeUrl, name) === undefined) type.markDue(name, "asked");
    }
  }

  /** Before a topic goes out to a client that can take it unasked: the clusters and endpoints it refers to (D12). */
  #markClosure(): void {
    if (this.#node?.clientFeatures.includes(prefetchFeature) !== true) return;
    const routes = this.#type(ResourceType.TopicRoute);
    if (routes === undefined || routes.due.size === 0) return;
    const clusters = this.#type(ResourceType.Cluster) ?? this.#addType(ResourceType.Cluster);
    const endpoints = this.#type(ResourceType.Endpoints) ?? this.#addType(ResourceType.Endpoints);
    for (const name of routes.due.keys()) {
      const outgoing = routes.decide(name);
      if (outgoing.kind !== "resource") continue;
      for (const cluster of outgoing.entry.clusterNames) {
        if (!clusters.holds(cluster)) clusters.markDue(cluster, "prefetch");
        if (!endpoints.holds(cluster)) endpoints.markDue(cluster, "prefetch");
      }
    }
  }

  #flushType(type: DeltaType): void {
    if (type.inFlight !== undefined || (type.due.size === 0 && !type.owesAnswer)) return;
    if (!this.#events.isWritable) return;
    const entries: ResourceEntry[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const name of [...type.due.keys()]) {
      const outgoing = type.decide(name);
      if (outgoing.kind === "nothing") {
        type.settle(name);
      } else if (outgoing.kind === "removed") {
        if (this.#mustKeep(type, name)) continue;
        removed.push(name);
        bytes += name.length;
      } else {
        if (this.#waitsForCluster(type, outgoing.entry)) continue;
        entries.push(outgoing.entry);
        bytes += outgoing.entry.deltaField.length;
      }
      if (bytes >= responseBytesTarget) break;
    }
    if (entries.length + removed.length === 0 && !type.owesAnswer) return;
    const response = this.#options.encoder.encode(type.typeUrl, entries, removed);
    type.sent(response.nonce, this.#options.nowMs(), response.told);
    if (type.typeUrl === ResourceType.Cluster) this.#resendEndpoints(entries);
    this.#events.send(response.bytes);
  }

  /** Make before break: a topic waits until the clusters it refers to have gone out on this stream. */
  #waitsForCluster(type: DeltaType, entry: ResourceEntry): boolean {
    if (type.typeUrl !== ResourceType.TopicRoute) return false;
    const clusters = this.#type(ResourceType.Cluster);
    const endpoints = this.#type(ResourceType.Endpoints);
    return entry.clusterNames.some((name) => clusters?.isPending(name) === true || endpoints?.isPending(name) === true);
  }

  /** Break last: a cluster that the client has goes when the topics that no longer refer to it are acknowledged. */
  #mustKeep(type: DeltaType, name: string): boolean {
    if (type.typeUrl !== ResourceType.Cluster && type.typeUrl !== ResourceType.Endpoints) return false;
    if (!type.holds(name)) return false;
    const routes = this.#type(ResourceType.TopicRoute);
    return routes !== undefined && (routes.inFlight !== undefined || routes.due.size > 0);
  }

  /** Envoy finishes warming an updated cluster only when its endpoints come again, even unchanged. */
  #resendEndpoints(clusters: readonly ResourceEntry[]): void {
    const endpoints = this.#type(ResourceType.Endpoints);
    if (endpoints === undefined) return;
    for (const { name } of clusters) {
      if (endpoints.isSubscribed(name) && endpoints.holds(name)) endpoints.markDue(name, "asked");
    }
  }
}

function shortened(reason: string): string {
  return reason.slice(0, streamLimits.reasonLength);
}
