import type { apache } from "#codec/rocketmq-v2";
import { acceptedMessageTypes } from "./route-match.ts";
import type { RouteSegment, TopicRoute } from "./topic-route.ts";

/**
 * A topic as the SDKs are shown it. The rules behind this come from the SDKs themselves:
 *
 * - every broker appears under its real name, but at the endpoints through which the client came, so that all traffic stays
 *   with this sidecar and the client sees no new endpoints;
 * - queue ids run from 0, and id 0 is always there: Node.js uses no other;
 * - exactly one address per broker, broker id 0 (the master), real message types, real permissions: Java, Node.js and
 *   Python fail the whole route otherwise;
 * - an empty list is never shown: the callers answer an error code instead.
 *
 * Equal input gives equal bytes; clients compare answers and rebuild their queues when something differs.
 */

type MessageQueue = apache.rocketmq.v2.IMessageQueue;
type Endpoints = apache.rocketmq.v2.IEndpoints;
type Resource = apache.rocketmq.v2.IResource;

/** Numbers of enum Permission. */
const Permission = { None: 1, Read: 2, Write: 3, ReadWrite: 4 } as const;

/** Numbers of enum AddressScheme. */
const AddressScheme = { IPv4: 1, IPv6: 2, DomainName: 3 } as const;

/** Queue id that means "all queues of this broker" in an assignment. */
const wholeBroker = -1;

/** All queues of a topic. Empty only when no segment can be read or written. */
export function messageQueuesOf(route: TopicRoute, topic: Resource, endpoints: Endpoints): MessageQueue[] {
  const acceptMessageTypes = acceptedMessageTypes(route.ref.messageTypes) as number[];
  const queues: MessageQueue[] = [];
  for (const segment of route.segments) {
    const permission = permissionOf(route, segment);
    if (permission === Permission.None) continue;
    const broker = { name: segment.brokerName, id: 0, endpoints };
    const queueCount = Math.max(1, segment.queueCount);
    for (let id = 0; id < queueCount; id++) queues.push({ topic, id, permission, broker, acceptMessageTypes });
  }
  return queues;
}

/** What a push consumer polls: every readable broker as a whole, the same for each consumer of the group. */
export function assignmentsOf(
  route: TopicRoute,
  topic: Resource,
  endpoints: Endpoints,
): apache.rocketmq.v2.IAssignment[] {
  return route.readable.map((segment) => ({
    messageQueue: {
      topic,
      id: wholeBroker,
      permission: permissionOf(route, segment),
      broker: { name: segment.brokerName, id: 0, endpoints },
    },
  }));
}

/**
 * The endpoints to show: those of the request, reduced to one address, because several in one broker hang Node.js. Of
 * several, the one with our port is surely us. A request without any gets the address it came to.
 */
export function endpointsToShow(requested: Endpoints | null | undefined, own: OwnAddress): Endpoints {
  const addresses = requested?.addresses ?? [];
  const address = addresses.find((candidate) => candidate.port === own.port) ?? addresses[0];
  if (requested == null || address === undefined || (address.host ?? "") === "") {
    return { scheme: schemeOf(own.host), addresses: [{ host: own.host, port: own.port }] };
  }
  return { scheme: requested.scheme || schemeOf(address.host ?? ""), addresses: [address] };
}

/** Where this sidecar listens. */
export interface OwnAddress {
  readonly host: string;
  readonly port: number;
}

function schemeOf(host: string): number {
  if (host.includes(":")) return AddressScheme.IPv6;
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) ? AddressScheme.IPv4 : AddressScheme.DomainName;
}

function permissionOf(route: TopicRoute, segment: RouteSegment): number {
  const isReadable = route.readable.includes(segment);
  const isWritable = route.writable.includes(segment);
  if (isReadable && isWritable) return Permission.ReadWrite;
  if (isReadable) return Permission.Read;
  return isWritable ? Permission.Write : Permission.None;
}
