import type { RouteSegment, TopicRoute } from "./topic-route.ts";

/** Numbers of enum MessageType. */
export const MessageType = { Normal: 1, Fifo: 2, Delay: 3, Transaction: 4, Lite: 5, Priority: 6 } as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

const messageTypeNames: Readonly<Record<number, string>> = {
  1: "NORMAL",
  2: "FIFO",
  3: "DELAY",
  4: "TRANSACTION",
  5: "LITE",
  6: "PRIORITY",
};

/** A topic that says nothing about types takes the four classic ones. */
const mixedMessageTypes =
  (1 << MessageType.Normal) | (1 << MessageType.Fifo) | (1 << MessageType.Delay) | (1 << MessageType.Transaction);

/** What a message says about its own type. */
export interface MessageTraits {
  /** `message_type` as declared by the client. */
  readonly declaredType: number;
  readonly hasDeliveryTime: boolean;
  readonly hasMessageGroup: boolean;
}

/**
 * The type a message really has: clients declare it, but what decides is which fields it carries. LITE and PRIORITY count
 * only where a topic is of that type; elsewhere such a message is judged by its other fields, as older clients do it.
 */
export function messageTypeOf(traits: MessageTraits, acceptedTypes: number): MessageType {
  const declared = traits.declaredType;
  if (declared === MessageType.Transaction) return MessageType.Transaction;
  const isSpecial = declared === MessageType.Lite || declared === MessageType.Priority;
  if (isSpecial && (acceptedTypes & (1 << declared)) !== 0) return declared as MessageType;
  if (traits.hasDeliveryTime) return MessageType.Delay;
  if (traits.hasMessageGroup) return MessageType.Fifo;
  // SDKs declare a message without a priority NORMAL; where priorities are all there is, it has the lowest.
  const takesOnly = acceptedTypes & ((1 << MessageType.Normal) | (1 << MessageType.Priority));
  return takesOnly === 1 << MessageType.Priority ? MessageType.Priority : MessageType.Normal;
}

/** The accepted types of a topic as a list, smallest first. Never empty. */
export function acceptedMessageTypes(bits: number): MessageType[] {
  const effective = effectiveMessageTypes(bits);
  return Object.values(MessageType).filter((type) => (effective & (1 << type)) !== 0);
}

/** Whether every message of the topic belongs to a message group: the topic takes FIFO messages and no others. */
export function isFifoTopic(bits: number): boolean {
  return effectiveMessageTypes(bits) === 1 << MessageType.Fifo;
}

/** Undefined when the topic takes a message of these traits, else what to tell the client. */
export function refuseMessageType(traits: MessageTraits, topicTypes: number): string | undefined {
  const accepted = effectiveMessageTypes(topicTypes);
  const type = messageTypeOf(traits, accepted);
  if ((accepted & (1 << type)) !== 0) return undefined;
  const names = acceptedMessageTypes(topicTypes).map(messageTypeName).join(", ");
  return `the topic takes ${names} messages, this one is ${messageTypeName(type)}; send it to a topic of that type`;
}

export function messageTypeName(type: number): string {
  return messageTypeNames[type] ?? `type ${type}`;
}

function effectiveMessageTypes(bits: number): number {
  const known = bits & 0b111_1110;
  return known === 0 ? mixedMessageTypes : known;
}

/**
 * The segment a receive reads from: the broker that the client names, where the topic lies there, else any, in turn. Clients
 * hold on to old routes, so an unknown broker name is no reason to refuse. A turn is taken (`nextTurn`) where it is used and nowhere
 * else: a client that asks for a broker that has gone and one that is there by turns would always get the same one.
 */
export function readableSegment(
  route: TopicRoute,
  brokerName: string,
  nextTurn: () => number,
): RouteSegment | undefined {
  const readable = route.readable;
  if (readable.length <= 1) return readable[0];
  if (brokerName !== "") {
    const named = readable.find((segment) => segment.brokerName === brokerName);
    if (named !== undefined) return named;
  }
  return readable[nextTurn() % readable.length];
}
