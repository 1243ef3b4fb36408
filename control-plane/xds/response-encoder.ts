import { envoy } from "#codec/xds-v3";
import type { ResourceEntry, ResourceTable } from "../snapshot/resource-table.ts";

const { DeltaDiscoveryResponse } = envoy.service.discovery.v3;

/** A delta response as it leaves, with what it tells: name to version, or "" for what does not exist. */
export interface EncodedResponse {
  readonly nonce: string;
  readonly bytes: Uint8Array;
  readonly told: ReadonlyMap<string, string>;
}

/**
 * Encodes delta responses for all streams of a server. A nonce must be unique on its stream; ours are of one counter for all, so
 * that a change which goes to ten thousand streams is one response: the same bytes, the same nonce.
 */
export class ResponseEncoder {
  readonly #table: ResourceTable;
  readonly #identifier: string;
  /** Within `share`: what was made for the change of one resource. No stream is sent two responses of a type meanwhile. */
  #shared: Map<ResourceEntry, EncodedResponse> | undefined;
  #nonces = 0;

  /** `identifier`: name of this control plane, told in each response. */
  constructor(table: ResourceTable, identifier: string) {
    this.#table = table;
    this.#identifier = identifier;
  }

  /** While `flush` runs, a response that is one resource and nothing else is encoded once. */
  share(flush: () => void): void {
    this.#shared = new Map();
    try {
      flush();
    } finally {
      this.#shared = undefined;
    }
  }

  encode(typeUrl: string, entries: readonly ResourceEntry[], removed: string[]): EncodedResponse {
    const [sole] = entries;
    if (this.#shared === undefined || sole === undefined || entries.length > 1 || removed.length > 0) {
      return this.#encode(typeUrl, entries, removed);
    }
    let response = this.#shared.get(sole);
    if (response === undefined) this.#shared.set(sole, (response = this.#encode(typeUrl, entries, removed)));
    return response;
  }

  #encode(typeUrl: string, entries: readonly ResourceEntry[], removed: string[]): EncodedResponse {
    const nonce = String(++this.#nonces);
    const rest = DeltaDiscoveryResponse.encode({
      systemVersionInfo: String(this.#table.revision),
      typeUrl,
      nonce,
      removedResources: removed,
      controlPlane: { identifier: this.#identifier },
    }).finish();
    const told = new Map<string, string>();
    for (const { name, version } of entries) told.set(name, version);
    for (const name of removed) told.set(name, "");
    return { nonce, bytes: Buffer.concat([rest, ...entries.map((entry) => entry.deltaField)]), told };
  }
}
