import { shown } from "../../proto/filter/expression-fault.ts";
import { isSameFilter, type MessageFilter } from "./message-filter.ts";

/**
 * A client counts as alive for so long after its last receive began. Consumers that wait poll every 20 s or more often
 * (the sidecar's longest wait), and one that missed two of those is gone or busy with what it has in hand: then it is refused
 * when it comes back, and sees why.
 */
export const clientAliveMs = 60_000;

/** Sweep for clients that are gone when there are so many more than after the last sweep. */
const sweepEvery = 1_024;

/** Longest piece of a filter that a refusal repeats. */
const shownFilterMax = 200;

/**
 * The filter by which a group reads a topic. A scan passes what the filter does not match for the whole group, so two filters at
 * once would lose messages without a word: the first one is in force as long as a client with it is alive, and whoever comes
 * with another one is told so.
 *
 * It is a hint of this run, in no record and no snapshot: after a start of the broker the first receive decides. That is no
 * gap, because what it guards against takes two clients that receive.
 */
export class FilterAgreement {
  #filter: MessageFilter;
  /** From the second client on: in nearly all of a million topics there is one. */
  #clients: Map<string, Client> | undefined = undefined;
  /** The client that received last. */
  #latest: Client;
  #sweepAt = sweepEvery;

  constructor(filter: MessageFilter, clientId: string, nowMs: number) {
    this.#filter = filter;
    this.#latest = { clientId, seenMs: nowMs };
  }

  /** The filter in force. */
  get filter(): MessageFilter {
    return this.#filter;
  }

  /** Clients that are remembered, some of them gone. */
  get clientCount(): number {
    return this.#clients?.size ?? 1;
  }

  /** The client that received last, when it is the only one that is remembered. */
  get onlyClient(): Client | undefined {
    return this.clientCount === 1 ? this.#latest : undefined;
  }

  /** Clients that received within `clientAliveMs`. */
  aliveClients(nowMs: number): string[] {
    const alive = [...(this.#clients?.values() ?? [this.#latest])].filter(
      ({ seenMs }) => seenMs > nowMs - clientAliveMs,
    );
    return alive.map(({ clientId }) => clientId).sort();
  }

  /** Nobody who received with this filter is alive. */
  isOver(nowMs: number): boolean {
    return this.#latest.seenMs <= nowMs - clientAliveMs;
  }

  isInForce(filter: MessageFilter): boolean {
    return isSameFilter(this.#filter, filter);
  }

  /** A client received with the filter in force. */
  saw(clientId: string, nowMs: number): void {
    if (clientId !== this.#latest.clientId) {
      this.#latest = this.#clients?.get(clientId) ?? this.#add(clientId, nowMs);
    }
    this.#latest.seenMs = nowMs;
  }

  /**
   * The client that keeps the filter in force: anybody but `clientId` who received within `clientAliveMs`; the latest of them.
   * Undefined when there is none. Clients whose receives are parked are known by the caller.
   */
  keeper(clientId: string, nowMs: number): Client | undefined {
    let keeper: Client | undefined;
    for (const client of this.#clients?.values() ?? [this.#latest]) {
      if (client.clientId === clientId || client.seenMs <= nowMs - clientAliveMs) continue;
      if (keeper === undefined || client.seenMs > keeper.seenMs) keeper = client;
    }
    return keeper;
  }

  /** Another filter comes into force, brought by this client. */
  replace(filter: MessageFilter, clientId: string, nowMs: number): void {
    this.#filter = filter;
    this.#clients = undefined;
    this.#sweepAt = sweepEvery;
    this.#latest = { clientId, seenMs: nowMs };
  }

  #add(clientId: string, nowMs: number): Client {
    this.#clients ??= new Map([[this.#latest.clientId, this.#latest]]);
    if (this.#clients.size >= this.#sweepAt) this.#sweep(this.#clients, nowMs);
    const client = { clientId, seenMs: nowMs };
    this.#clients.set(clientId, client);
    return client;
  }

  #sweep(clients: Map<string, Client>, nowMs: number): void {
    for (const { clientId, seenMs } of clients.values()) {
      if (seenMs <= nowMs - clientAliveMs) clients.delete(clientId);
    }
    this.#sweepAt = clients.size + sweepEvery;
  }
}

/** A client that receives with the filter in force. */
export interface Client {
  readonly clientId: string;
  /** When its last receive began, on the monotonic clock. */
  seenMs: number;
}

/** For the client that is refused: what stands in its way, and what to do. `waits`: the other one has a receive parked now. */
export function disagreement(
  group: string,
  topic: string,
  inForce: MessageFilter,
  wanted: MessageFilter,
  keeper: string,
  waits: boolean,
  sinceMs: number,
): string {
  const seen = waits ? "it waits for messages now" : `its last receive began ${(sinceMs / 1000).toFixed(1)} s ago`;
  return (
    `group ${group} reads ${topic} with the filter ${filterText(inForce)} of client ${shown(keeper, 255)} (${seen}), and this client ` +
    `asks with ${filterText(wanted)}. What one filter does not match is passed for the whole group, so a group reads a topic with ` +
    `one filter: use another group, or the same filter in all clients. A changed filter comes into force ${clientAliveMs / 1000} s ` +
    "after the last receive with the old one"
  );
}

/** A filter for people: its kind and its canonical expression, cut where it is long. */
export function filterText(filter: MessageFilter): string {
  return `${filter.sql === undefined ? "TAG" : "SQL92"} ${shown(filter.canonical, shownFilterMax)}`;
}
