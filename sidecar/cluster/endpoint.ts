import type { Upstream } from "../upstream/upstream.ts";
import type { EndpointHealth } from "./cluster-snapshot.ts";
import { innocent, type OutlierState } from "./outlier-detector.ts";
import { noBackoff, type ReceiveBackoff } from "./receive-backoff.ts";

/** One broker of a cluster: its connection, what the control plane says of it, and what we have seen of it ourselves. */
export class Endpoint {
  readonly cluster: string;
  readonly host: string;
  readonly port: number;
  readonly upstream: Upstream;
  /** As of the snapshot in force. */
  health: EndpointHealth;
  priority: number;
  outlier: OutlierState = innocent;
  receiveBackoff: ReceiveBackoff = noBackoff;

  constructor(
    cluster: string,
    at: { host: string; port: number; health: EndpointHealth; priority: number },
    upstream: Upstream,
  ) {
    this.cluster = cluster;
    this.host = at.host;
    this.port = at.port;
    this.health = at.health;
    this.priority = at.priority;
    this.upstream = upstream;
  }

  get address(): string {
    return endpointAddress(this);
  }
}

/** "host:port"; what makes two endpoint snapshots of a cluster the same endpoint. */
export function endpointAddress(at: { readonly host: string; readonly port: number }): string {
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}
