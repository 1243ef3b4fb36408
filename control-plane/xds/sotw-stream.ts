import { createHash } from "node:crypto";
import { status as GrpcStatus } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import type { ResourceEntry, ResourceTable } from "../snapshot/resource-table.ts";
import { flushRank, ResourceType } from "../snapshot/resource-type.ts";
import {
  type AdsStream,
  type HeldResource,
  isPossibleName,
  type StreamEnd,
  type StreamEvents,
  streamLimits,
} from "./ads-stream.ts";
import type { SubscriptionIndex } from "./subscription-index.ts";

const { DiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.DiscoveryRequest;

/** Types of which each response holds everything subscribed to, so that what is missing does not exist. */
const wholeStateTypes: ReadonlySet<string> = new Set([ResourceType.Cluster, ResourceType.Listener]);

/** Types whose resources refer to clusters. */
const referrerTypes: ReadonlySet<string> = new Set([
  ResourceType.Listener,
  ResourceType.RouteConfiguration,
  ResourceType.TopicRoute,
]);

interface SotwType {
  readonly typeUrl: string;
  names: Set<string>;
  wildcard: boolean;
  named: boolean;
  /** Of the newest response; undefined before the first. */
  nonce: string | undefined;
  /** Set while the newest response has no answer. */
  sentMs: number | undefined;
  /** Name to version, of what was sent and is still subscribed to. */
  sent: Map<string, string>;
  /** Names to look at with the next response; `true`: to be sent even if unchanged. */
  due: Map<string, boolean>;
  /** A response is owed even if nothing can be put into it. */
  owesAnswer: boolean;
  refusal: string;
}

/**
 * One state-of-the-world ADS stream, for the clients that speak nothing else: every gRPC library. Each request carries the
 * whole list of names; a request whose nonce is not the newest of its type is stale and ignored as a whole.
 */
export class SotwStream implements AdsStream {
  readonly #table: ResourceTable;
  readonly #index: SubscriptionIndex;
  readonly #events: StreamEvents;
  readonly #nowMs: () => number;
  readonly #identifier: string;
  #types: SotwType[] = [];
  #node: Request["node"] | undefined;
  #nonces = 0;

  constructor(options: {
    readonly table: ResourceTable;
    readonly index: SubscriptionIndex;
    readonly events: StreamEvents;
    readonly nowMs: () => number;
    readonly identifier: string;
  }) {
    this.#table = options.table;
    this.#index = options.index;
    this.#events = options.events;
    this.#nowMs = options.nowMs;
    this.#identifier = options.identifier;
  }

  get node(): envoy.config.core.v3.Node | undefined {
    return this.#node ?? undefined;
  }

  /** Takes a request and sends what it makes due. A result means that the stream must end so. */
  request(request: Request): StreamEnd | undefined {
    const refusal = this.#refuse(request);
    if (refusal !== undefined) return refusal;
    this.#node ??= request.node ?? undefined;
    let type = this.#type(request.typeUrl);
    const isFirst = type === undefined;
    type ??= this.#addType(request.typeUrl);
    if (type.nonce !== undefined) {
      if (request.responseNonce !== type.nonce) return undefined;
      this.#noteAnswer(type, request);
    }
    this.#applyNames(type, request.resourceNames, isFirst);
    this.flush();
    return undefined;
  }

  changed(typeUrl: string, name: string): void {
    const type = this.#type(typeUrl);
    if (type !== undefined && !type.due.has(name)) type.due.set(name, false);
  }

  flush(): void {
    for (const type of this.#types) this.#flushType(type);
    // Clusters come first; the referrers they waited for may have had nothing to say.
    const clusters = this.#type(ResourceType.Cluster);
    if (clusters !== undefined) this.#flushType(clusters);
  }

  unansweredSinceMs(): number | undefined {
    const times = this.#types.flatMap(({ sentMs }) => (sentMs === undefined ? [] : [sentMs]));
    return times.length === 0 ? undefined : Math.min(...times);
  }

  held(): HeldResource[] {
    return this.#types.flatMap((type) =>
      [...new Set([...type.names, ...type.sent.keys()])].map((name) => {
        const version = type.sent.get(name);
        const status =
          version === undefined
            ? "NOT_SENT"
            : type.sentMs !== undefined
              ? "STALE"
              : type.refusal !== ""
                ? "ERROR"
                : "SYNCED";
        const exists = this.#table.get(type.typeUrl, name) !== undefined;
        return { typeUrl: type.typeUrl, name, version: version ?? "", status, exists, reason: type.refusal };
      }),
    );
  }

  close(): void {
    for (const { typeUrl, names, wildcard } of this.#types) {
      for (const name of names) this.#index.remove(typeUrl, name, this);
      if (wildcard) this.#index.removeWildcard(typeUrl, this);
    }
    this.#types = [];
  }

  #refuse(request: Request): StreamEnd | undefined {
    const invalid = (details: string) => ({ code: GrpcStatus.INVALID_ARGUMENT, details });
    if (this.#node === undefined && request.node === null)
      return invalid("the first request of a stream must name its node");
    if (request.typeUrl === "")
      return invalid("type_url is missing; on an aggregated stream each request names its type");
    if (this.#type(request.typeUrl) === undefined && this.#types.length >= streamLimits.types) {
      return invalid(`more than ${streamLimits.types} types`);
    }
    const others = this.#types.reduce(
      (sum, { typeUrl, names }) => sum + (typeUrl === request.typeUrl ? 0 : names.size),
      0,
    );
    return others + request.resourceNames.length > streamLimits.names
      ? { code: GrpcStatus.RESOURCE_EXHAUSTED, details: `more than ${streamLimits.names} names on one stream` }
      : undefined;
  }

  #type(typeUrl: string): SotwType | undefined {
    return this.#types.find((type) => type.typeUrl === typeUrl);
  }

  #addType(typeUrl: string): SotwType {
    const type: SotwType = {
      typeUrl,
      names: new Set(),
      wildcard: false,
      named: false,
      nonce: undefined,
      sentMs: undefined,
      sent: new Map(),
      due: new Map(),
      owesAnswer: false,
      refusal: "",
    };
    this.#types.push(type);
    this.#types.sort((a, b) => flushRank(a.typeUrl) - flushRank(b.typeUrl));
    return type;
  }

  #noteAnswer(type: SotwType, request: Request): void {
    if (type.sentMs === undefined) return;
    type.sentMs = undefined;
    type.refusal =
      request.errorDetail === null
        ? ""
        : request.errorDetail.message.slice(0, streamLimits.reasonLength) || "no reason given";
    if (type.refusal === "") this.#events.acked(type.typeUrl);
    else this.#events.nacked(type.typeUrl, type.refusal);
  }

  #applyNames(type: SotwType, requested: readonly string[], isFirst: boolean): void {
    const names = new Set(requested.filter((name) => name !== "*" && isPossibleName(name)));
    if (requested.length > 0) type.named = true;
    const wildcard =
      requested.includes("*") || (requested.length === 0 && !type.named && wholeStateTypes.has(type.typeUrl));
    for (const name of type.names) {
      if (names.has(name)) continue;
      this.#index.remove(type.typeUrl, name, this);
      if (!wildcard) type.sent.delete(name);
    }
    for (const name of names) {
      if (type.names.has(name)) continue;
      this.#index.add(type.typeUrl, name, this);
      // What is newly asked for is sent even if it was sent before, and its absence is told where it can be.
      type.due.set(name, true);
      if (wholeStateTypes.has(type.typeUrl)) type.owesAnswer = true;
    }
    type.names = names;
    if (wildcard && !type.wildcard) {
      this.#index.addWildcard(type.typeUrl, this);
      for (const name of this.#table.names(type.typeUrl)) type.due.set(name, true);
      type.owesAnswer = isFirst;
    } else if (!wildcard && type.wildcard) {
      this.#index.removeWildcard(type.typeUrl, this);
      for (const name of [...type.sent.keys()]) if (!names.has(name)) type.sent.delete(name);
    }
    type.wildcard = wildcard;
  }

  #flushType(type: SotwType): void {
    if (type.sentMs !== undefined || (type.due.size === 0 && !type.owesAnswer)) return;
    if (!this.#events.isWritable || this.#waitsForReferrers(type)) return;
    const isWhole = wholeStateTypes.has(type.typeUrl);
    const due = [...type.due].filter(([name, isAsked]) => this.#isNews(type, name, isAsked, isWhole));
    type.due.clear();
    if (due.length === 0 && !type.owesAnswer) return;
    const names = isWhole ? this.#coveredNames(type) : due.map(([name]) => name);
    const entries = names.flatMap((name) => this.#table.get(type.typeUrl, name) ?? []);
    if (isWhole) type.sent.clear();
    for (const entry of entries) type.sent.set(entry.name, entry.version);
    type.owesAnswer = false;
    type.nonce = String(++this.#nonces);
    type.sentMs = this.#nowMs();
    this.#events.send(this.#encode(type, entries));
  }

  /** Break last: a cluster goes when the client has taken what else goes with it, or no call could find its way meanwhile. */
  #waitsForReferrers(type: SotwType): boolean {
    if (type.typeUrl !== ResourceType.Cluster) return false;
    const isOpen = this.#types.some(
      ({ typeUrl, due, sentMs }) => referrerTypes.has(typeUrl) && (due.size > 0 || sentMs !== undefined),
    );
    if (!isOpen) return false;
    for (const name of type.sent.keys()) if (this.#table.get(type.typeUrl, name) === undefined) return true;
    return false;
  }

  /** Whether a due name calls for a response. Only whole-state types can tell that something is gone. */
  #isNews(type: SotwType, name: string, isAsked: boolean, isWhole: boolean): boolean {
    if (!type.wildcard && !type.names.has(name)) return false;
    const version = this.#table.get(type.typeUrl, name)?.version;
    if (version === undefined) return isWhole && type.sent.has(name);
    return isAsked || type.sent.get(name) !== version;
  }

  #coveredNames(type: SotwType): string[] {
    return [...(type.wildcard ? this.#table.names(type.typeUrl) : type.names)];
  }

  #encode(type: SotwType, entries: readonly ResourceEntry[]): Uint8Array {
    return DiscoveryResponse.encode({
      versionInfo: versionOf(type.sent),
      resources: entries.map(({ typeUrl, bytes }) => ({ type_url: typeUrl, value: bytes })),
      typeUrl: type.typeUrl,
      nonce: type.nonce ?? "",
      controlPlane: { identifier: this.#identifier },
    }).finish();
  }
}

/** Version of a set of resources: equal sets have equal versions, whoever serves them. */
function versionOf(sent: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256");
  for (const [name, version] of [...sent].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${name}\0${version}\n`);
  return hash.digest("hex").slice(0, 16);
}
