import { createHash } from "node:crypto";
import { envoy } from "#codec/xds-v3";

const { DeltaDiscoveryResponse } = envoy.service.discovery.v3;

/** One resource as it goes over the wire. Its bytes depend on its name and content alone, so they are made once for all. */
export class ResourceEntry {
  readonly typeUrl: string;
  readonly name: string;
  /** The encoded message. */
  readonly bytes: Uint8Array;
  /** First 16 hex digits of the SHA-256 of `bytes`: equal content has equal versions, across restarts and replicas. */
  readonly version: string;
  /** Names of the Clusters (and ClusterLoadAssignments) that must be known before this is of use. */
  readonly clusterNames: readonly string[];
  #deltaField: Uint8Array | undefined;

  constructor(typeUrl: string, name: string, bytes: Uint8Array, clusterNames: readonly string[] = []) {
    this.typeUrl = typeUrl;
    this.name = name;
    this.bytes = bytes;
    this.version = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
    this.clusterNames = clusterNames;
  }

  /**
   * The entry as one element of `DeltaDiscoveryResponse.resources`, field tag included. Encoded messages may be joined end to
   * end, so a response is the join of such elements and a short rest.
   */
  get deltaField(): Uint8Array {
    this.#deltaField ??= DeltaDiscoveryResponse.encode({
      resources: [{ name: this.name, version: this.version, resource: { type_url: this.typeUrl, value: this.bytes } }],
    }).finish();
    return this.#deltaField;
  }
}

export type ResourceListener = (typeUrl: string, name: string) => void;

/** Everything that can be subscribed to: type, then name, then entry. */
export class ResourceTable {
  readonly #types = new Map<string, Map<string, ResourceEntry>>();
  readonly #listeners: ResourceListener[] = [];
  /** Rises with every change; for people who compare two answers. */
  revision = 0;

  get(typeUrl: string, name: string): ResourceEntry | undefined {
    return this.#types.get(typeUrl)?.get(name);
  }

  /** Names of one type, in no particular order. */
  names(typeUrl: string): Iterable<string> {
    return this.#types.get(typeUrl)?.keys() ?? [];
  }

  count(typeUrl: string): number {
    return this.#types.get(typeUrl)?.size ?? 0;
  }

  /** `listener` is told of every name whose content changed, appeared or went. */
  onChange(listener: ResourceListener): void {
    this.#listeners.push(listener);
  }

  /** Content equal to what is there changes nothing and tells nobody. */
  put(entry: ResourceEntry): void {
    let entries = this.#types.get(entry.typeUrl);
    if (entries === undefined) this.#types.set(entry.typeUrl, (entries = new Map()));
    if (entries.get(entry.name)?.version === entry.version) return;
    entries.set(entry.name, entry);
    this.#changed(entry.typeUrl, entry.name);
  }

  delete(typeUrl: string, name: string): void {
    if (this.#types.get(typeUrl)?.delete(name) === true) this.#changed(typeUrl, name);
  }

  #changed(typeUrl: string, name: string): void {
    this.revision++;
    for (const listener of this.#listeners) listener(typeUrl, name);
  }
}
