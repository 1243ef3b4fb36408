import { printableName, splitQualifiedName } from "../../proto/resource-name.ts";

/** A rate limit of the mesh as the control plane sends it. Immutable. */
export interface RateLimit {
  /** "<namespace>/<limit>". */
  readonly name: string;
  readonly generation: number;
  readonly namespace: string;
  readonly direction: "send" | "receive";
  /** Plain names in the limit's namespace; "": all. */
  readonly topic: string;
  readonly group: string;
  /** A pattern of client ids; "": all. */
  readonly client: string;
  /** 0: not counted. */
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly burstMs: number;
}

/** How particular a limit is: one for a topic before one for a group, before one for clients, before one for all. */
export function particularityOf({ topic, group, client }: RateLimit): number {
  return (topic === "" ? 0 : 4) + (group === "" ? 0 : 2) + (client === "" ? 0 : 1);
}

/** What a limit is called and for, in the words of a refusal. */
export function limitText(limit: RateLimit): string {
  const plain = splitQualifiedName(limit.name)?.name ?? limit.name;
  const scope = [
    ...(limit.topic === "" ? [] : [`topic "${limit.topic}"`]),
    ...(limit.group === "" ? [] : [`group "${limit.group}"`]),
    ...(limit.client === "" ? [] : [`clients "${printableName(limit.client)}"`]),
  ];
  const where = scope.length === 0 ? "all" : scope.join(", ");
  // The name of a default limit is nobody's; docs/namespaces.md says where it is written.
  const what = plain.startsWith("%") ? "the default rate limit" : `rate limit "${plain}"`;
  return `${what} (${limit.direction}s of ${where} in namespace "${limit.namespace}")`;
}
