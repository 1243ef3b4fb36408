import { createHash } from "node:crypto";
import type { GroupPolicy } from "./topic-route.ts";

/** Longest name of a group that a broker takes, in bytes: that of its dead-letter topic must fit into 255. */
const groupNameBytesMax = 250;
/** 128 bits: two clients never meet. */
const hashLength = 22;
/** Clients remembered per policy; a sidecar has few. */
const rememberedMax = 10_000;

/**
 * A broadcast group is a group of its own at the brokers for every client instance: with its own positions, leases, locks and filter.
 * This gives the policy of one instance. Its name is "<namespace>/<group>@<hash of the client id>": "@" is in no name that users
 * may choose, and the hash has no character that could mean anything.
 */
export class BroadcastInstances {
  readonly #byPolicy = new WeakMap<GroupPolicy, Map<string, GroupPolicy>>();

  /** `policy` itself where the group is no broadcast group. `clientId` is not empty. */
  of(policy: GroupPolicy, clientId: string): GroupPolicy {
    if (policy.instanceExpiryMs === undefined) return policy;
    let instances = this.#byPolicy.get(policy);
    if (instances === undefined || instances.size >= rememberedMax) {
      instances = new Map();
      this.#byPolicy.set(policy, instances);
    }
    let instance = instances.get(clientId);
    if (instance === undefined) {
      const { name } = policy.ref;
      const broadcast = { group: name, clientId, expiryMs: policy.instanceExpiryMs };
      instance = { ...policy, ref: { ...policy.ref, name: instanceName(name, clientId), broadcast } };
      instances.set(clientId, instance);
    }
    return instance;
  }
}

/** Where the group's name is so long that no more fits, the hash is of both and stands alone. */
export function instanceName(group: string, clientId: string): string {
  const name = `${group}@${hashOf(clientId)}`;
  if (Buffer.byteLength(name) <= groupNameBytesMax - "%DLQ%".length) return name;
  return `${group.slice(0, group.indexOf("/") + 1)}@${hashOf(`${group}\n${clientId}`)}`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, hashLength);
}
