import { popmesh } from "#codec/popmesh-v1";
import type { NamespacePolicy } from "../route/topic-route.ts";
import { type Decoded, decodeNamed } from "./resource-type.ts";

export function decodeNamespacePolicy(name: string, bytes: Uint8Array): Decoded<NamespacePolicy> {
  const decoded = decodeNamed(
    name,
    () => popmesh.v1.NamespacePolicy.decode(bytes),
    (message) => message.name,
  );
  if (!decoded.ok) return decoded;
  const { autoCreateTopics, autoCreateGroups, rateLimits } = decoded.value;
  return { ok: true, value: Object.freeze({ autoCreateTopics, autoCreateGroups, rateLimits }) };
}
