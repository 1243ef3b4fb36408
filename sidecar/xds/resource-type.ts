/** Type URLs of what a sidecar reads from the control plane (docs/xds-resources.md). */
export const TypeUrl = {
  Cluster: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
  ClusterLoadAssignment: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
  RateLimit: "type.googleapis.com/popmesh.v1.RateLimit",
  NamespacePolicy: "type.googleapis.com/popmesh.v1.NamespacePolicy",
  ConsumerGroupPolicy: "type.googleapis.com/popmesh.v1.ConsumerGroupPolicy",
  TopicRoute: "type.googleapis.com/popmesh.v1.TopicRoute",
} as const;
export type TypeUrl = (typeof TypeUrl)[keyof typeof TypeUrl];

/** What became of the bytes of a resource. `reason` is sent to the control plane with the NACK. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** Turns the bytes of the resource `name` into the value that the data path uses. Never throws. */
export type ResourceDecoder<T> = (name: string, bytes: Uint8Array) => Decoded<T>;

/**
 * What this sidecar understands of `required_features`. A resource that demands anything else is refused: serving it
 * wrongly would be worse than serving its last good version.
 */
export const knownFeatures: ReadonlySet<string> = new Set(["broadcast", "group-spread"]);

/** Names the features a resource demands and this sidecar lacks; undefined when there are none. */
export function missingFeatures(required: readonly string[]): string | undefined {
  const missing = required.filter((feature) => !knownFeatures.has(feature));
  return missing.length === 0 ? undefined : `needs features this sidecar does not have: ${missing.join(", ")}`;
}

/** Wraps a decoder: bytes that are no protobuf, or carry another name, are refused with a reason. */
export function decodeNamed<M>(name: string, decode: () => M, nameOf: (message: M) => string): Decoded<M> {
  let message: M;
  try {
    message = decode();
  } catch (error) {
    return { ok: false, reason: `cannot be decoded: ${error instanceof Error ? error.message : String(error)}` };
  }
  const inside = nameOf(message);
  return inside === name
    ? { ok: true, value: message }
    : { ok: false, reason: `carries another name inside: "${inside}"` };
}
