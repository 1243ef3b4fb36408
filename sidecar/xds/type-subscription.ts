import type { envoy } from "#codec/xds-v3";
import type { ResourceDecoder } from "./resource-type.ts";

type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
type Response = envoy.service.discovery.v3.DeltaDiscoveryResponse;

/**
 * - "requested": asked for, no answer yet;
 * - "active": answered, in force;
 * - "stale": known from disk, not confirmed by the control plane since the start;
 * - "absent": the control plane says it does not exist;
 * - "error": the control plane refuses it, or its only version was unusable.
 */
export type ResourceState = "requested" | "active" | "stale" | "absent" | "error";

/** One name of interest. */
export interface ResourceEntry<T> {
  readonly name: string;
  state: ResourceState;
  /** In force. Kept through refused versions, errors and outages. */
  value: T | undefined;
  version: string;
  /** The accepted bytes, for the disk and the admin port. */
  bytes: Uint8Array | undefined;
  /** Why the latest version was refused, or the state is "error". "" when all is well. */
  reason: string;
  rejectedVersion: string;
  /** Monotonic. When the name was asked for, answered last, and used last by the data path. */
  requestedMs: number;
  answeredMs: number;
  usedMs: number;
}

/** What one response did. */
export interface Received<T> {
  /** ACK or NACK, with the subscription changes that were due anyway. Must be sent. */
  readonly reply: Request;
  /** Entries whose value or state changed. */
  readonly changed: readonly ResourceEntry<T>[];
  /** Names whose removal was announced but which keep their value: the owner decides when to `obeyRemoval`. */
  readonly removed: readonly ResourceEntry<T>[];
  /** Undefined for an ACK. */
  readonly nackReason: string | undefined;
}

/** A version that came without being asked for is kept this long, in case it is asked for next (feature popmesh.prefetch). */
const prefetchKeptMs = 10_000;
const prefetchedMax = 256;
/** NACK reasons are for people; they must not grow with the response. */
const nackReasonLengthMax = 1_000;

/** Codes of google.rpc.Status. */
const StatusCode = { NotFound: 5, PermissionDenied: 7, Internal: 13 } as const;

interface Prefetched {
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly untilMs: number;
}

/**
 * The client's side of delta xDS for one type URL: which names are of interest, what is known of them, what must be said on
 * the stream. Pure: no I/O, and time is handed in.
 */
export class TypeSubscription<T> {
  readonly typeUrl: string;
  readonly #decode: ResourceDecoder<T>;
  readonly #reportsVersions: boolean;
  readonly #entries = new Map<string, ResourceEntry<T>>();
  readonly #prefetched = new Map<string, Prefetched>();
  /** Changes not sent yet on the open stream. A name is in one of them at most. */
  readonly #subscribe = new Set<string>();
  readonly #unsubscribe = new Set<string>();
  /** Whether this type has been mentioned on the current stream. */
  #isOpen = false;

  /**
   * `reportsVersions` false: a new stream does not say which versions are held, so that the server answers every name. At
   * least one name must be asked for in that way, or a silent stream could not be told from a dead one.
   */
  constructor(typeUrl: string, decode: ResourceDecoder<T>, reportsVersions = true) {
    this.typeUrl = typeUrl;
    this.#decode = decode;
    this.#reportsVersions = reportsVersions;
  }

  get entries(): ReadonlyMap<string, ResourceEntry<T>> {
    return this.#entries;
  }

  get hasPendingChanges(): boolean {
    return this.#isOpen ? this.#subscribe.size + this.#unsubscribe.size > 0 : this.#entries.size > 0;
  }

  /** Registers interest. A name already of interest is only marked as used. */
  want(name: string, nowMs: number): ResourceEntry<T> {
    const known = this.#entries.get(name);
    if (known !== undefined) {
      known.usedMs = nowMs;
      return known;
    }
    const entry: ResourceEntry<T> = {
      name,
      state: "requested",
      value: undefined,
      version: "",
      bytes: undefined,
      reason: "",
      rejectedVersion: "",
      requestedMs: nowMs,
      answeredMs: 0,
      usedMs: nowMs,
    };
    this.#entries.set(name, entry);
    this.#subscribe.add(name);
    this.#unsubscribe.delete(name);
    const prefetched = this.#prefetched.get(name);
    if (prefetched !== undefined && prefetched.untilMs > nowMs) {
      this.#prefetched.delete(name);
      const decoded = this.#decode(name, prefetched.bytes);
      if (decoded.ok) accept(entry, decoded.value, prefetched.version, prefetched.bytes, nowMs);
    }
    return entry;
  }

  /** The name was used just now; nothing where it is of no interest. */
  touch(name: string, nowMs: number): void {
    const entry = this.#entries.get(name);
    if (entry !== undefined) entry.usedMs = nowMs;
  }

  /** Ends interest; what was known is forgotten. */
  drop(name: string): void {
    if (!this.#entries.delete(name)) return;
    this.#subscribe.delete(name);
    if (this.#isOpen) this.#unsubscribe.add(name);
  }

  /** Takes a version that was accepted in an earlier life. Unusable bytes are ignored. */
  restore(name: string, version: string, bytes: Uint8Array, nowMs: number): boolean {
    const decoded = this.#decode(name, bytes);
    if (!decoded.ok || this.#entries.has(name)) return false;
    const entry = this.want(name, nowMs);
    accept(entry, decoded.value, version, bytes, nowMs);
    entry.state = "stale";
    return true;
  }

  /** The control plane has answered on this stream, so versions it did not contradict are in force. */
  confirmStale(): boolean {
    let changed = false;
    for (const entry of this.#entries.values()) {
      if (entry.state !== "stale") continue;
      entry.state = "active";
      changed = true;
    }
    return changed;
  }

  /** A new stream knows nothing of what was said on the old one. */
  streamStarted(): void {
    this.#isOpen = false;
    this.#subscribe.clear();
    this.#unsubscribe.clear();
  }

  /** The subscription changes to send now; undefined when there are none. */
  nextRequest(): Request | undefined {
    if (!this.hasPendingChanges) return undefined;
    const request: Request = { typeUrl: this.typeUrl };
    this.#fillChanges(request);
    return request;
  }

  receive(response: Response, nowMs: number): Received<T> {
    const changed: ResourceEntry<T>[] = [];
    const removed: ResourceEntry<T>[] = [];
    const problems: string[] = [];
    const seen = new Set<string>();
    for (const resource of response.resources) {
      if (isRepeated(seen, resource.name, problems) || resource.resource == null) continue;
      if (resource.resource.type_url !== this.typeUrl) {
        problems.push(`"${resource.name}" is a ${resource.resource.type_url}`);
        continue;
      }
      const entry = this.#entries.get(resource.name);
      // The response's buffer must not stay in memory for the sake of one resource.
      const bytes = Uint8Array.prototype.slice.call(resource.resource.value);
      if (entry === undefined) {
        this.#keepPrefetched(resource.name, { version: resource.version, bytes, untilMs: nowMs + prefetchKeptMs });
        continue;
      }
      const decoded = this.#decode(resource.name, bytes);
      if (decoded.ok) {
        accept(entry, decoded.value, resource.version, bytes, nowMs);
        changed.push(entry);
        continue;
      }
      problems.push(`"${resource.name}" ${decoded.reason}`);
      entry.reason = decoded.reason;
      entry.rejectedVersion = resource.version;
      entry.answeredMs = nowMs;
      if (entry.value !== undefined) continue;
      entry.state = "error";
      changed.push(entry);
    }
    for (const name of response.removedResources) {
      if (isRepeated(seen, name, problems)) continue;
      const entry = this.#entries.get(name);
      if (entry !== undefined) this.#remove(entry, nowMs, changed, removed);
    }
    for (const error of response.resourceErrors) {
      const entry = this.#entries.get(error.resourceName?.name ?? "");
      if (entry === undefined) continue;
      const code = error.errorDetail?.code ?? 0;
      if (code === StatusCode.NotFound) {
        this.#remove(entry, nowMs, changed, removed);
        continue;
      }
      entry.reason = error.errorDetail?.message ?? `error ${code}`;
      // Any other code is transient: what is cached stays in force (TP3).
      if (code !== StatusCode.PermissionDenied || entry.value !== undefined) continue;
      entry.state = "error";
      entry.answeredMs = nowMs;
      changed.push(entry);
    }
    const nackReason = problems.length === 0 ? undefined : problems.join("; ").slice(0, nackReasonLengthMax);
    const reply: Request = { typeUrl: this.typeUrl, responseNonce: response.nonce };
    if (nackReason !== undefined) reply.errorDetail = { code: StatusCode.Internal, message: nackReason };
    if (this.hasPendingChanges) this.#fillChanges(reply);
    return { reply, changed, removed, nackReason };
  }

  /** The value of a removed resource goes out of force now. */
  obeyRemoval(name: string, nowMs: number): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.state = "absent";
    entry.value = undefined;
    entry.bytes = undefined;
    entry.version = "";
    entry.reason = "";
    entry.answeredMs = nowMs;
  }

  #remove(entry: ResourceEntry<T>, nowMs: number, changed: ResourceEntry<T>[], removed: ResourceEntry<T>[]): void {
    if (entry.value !== undefined) {
      removed.push(entry);
      return;
    }
    this.obeyRemoval(entry.name, nowMs);
    changed.push(entry);
  }

  #fillChanges(request: Request): void {
    if (this.#isOpen) {
      if (this.#subscribe.size > 0) request.resourceNamesSubscribe = [...this.#subscribe];
      if (this.#unsubscribe.size > 0) request.resourceNamesUnsubscribe = [...this.#unsubscribe];
    } else {
      // First request of the type on this stream: all names, and the versions held.
      this.#isOpen = true;
      request.resourceNamesSubscribe = [...this.#entries.keys()];
      const versions: Record<string, string> = {};
      for (const entry of this.#entries.values()) {
        if (entry.value !== undefined && entry.version !== "") versions[entry.name] = entry.version;
      }
      if (this.#reportsVersions) request.initialResourceVersions = versions;
    }
    this.#subscribe.clear();
    this.#unsubscribe.clear();
  }

  #keepPrefetched(name: string, prefetched: Prefetched): void {
    this.#prefetched.delete(name);
    for (const [oldest, { untilMs }] of this.#prefetched) {
      if (this.#prefetched.size < prefetchedMax && untilMs > prefetched.untilMs - prefetchKeptMs) break;
      this.#prefetched.delete(oldest);
    }
    this.#prefetched.set(name, prefetched);
  }
}

function accept<T>(entry: ResourceEntry<T>, value: T, version: string, bytes: Uint8Array, nowMs: number): void {
  entry.state = "active";
  entry.value = value;
  entry.version = version;
  entry.bytes = bytes;
  entry.reason = "";
  entry.rejectedVersion = "";
  entry.answeredMs = nowMs;
}

/** A name may stand once in a response, among resources and removals together (D9). */
function isRepeated(seen: Set<string>, name: string, problems: string[]): boolean {
  if (seen.has(name)) {
    problems.push(`"${name}" occurs twice`);
    return true;
  }
  seen.add(name);
  return false;
}
