import { Code } from "../../proto/code.ts";
import { KeyCursor, type MessageScan, PropertyCursor } from "../../proto/codec/message-scan.ts";
import type { SendMessageScan } from "../../proto/codec/send-message.ts";
import { cachedText, copyBytes, readText } from "../../proto/codec/text.ts";
import { type Refusal, refuseNamespace, refuseTopicName } from "../filter/resource-name.ts";
import { type MessageTraits, MessageType, refuseMessageType } from "../route/route-match.ts";
import { isReservedPropertyKey } from "./reserved-property.ts";

/** Limits of the v2 API on a message, all in bytes of UTF-8 where they measure text. */
export const bodyBytesMax = 4 * 1024 * 1024;
export const propertiesMax = 128;
/** All property keys and values, the tag and the keys together. */
export const propertiesBytesMax = 16 * 1024;
/** A message group must be shorter than this. */
export const messageGroupBytesLimit = 64;
export const recoveryMsMax = 3_600_000;
/** Our own: official ids have 34 characters. */
export const messageIdBytesMax = 255;

const keyCursor = new KeyCursor();
const propertyCursor = new PropertyCursor();

/**
 * Checks a send before its topic is looked up: something to send, one topic, and each message within the limits. The order is
 * the reference server's; the first violation decides. `namespace` is the effective one.
 */
export function refuseSend(scan: SendMessageScan, namespace: string): Refusal | undefined {
  if (scan.messageCount === 0) return { code: Code.MessageCorrupted, message: "the request holds no message to send" };
  const first = scan.messages[0]!;
  const refusal = refuseTopicName(topicOf(first)) ?? refuseNamespace(namespace);
  if (refusal !== undefined) return refusal;
  for (let i = 0; i < scan.messageCount && scan.messageCount > 1; i++) {
    if (scan.messages[i]!.messageType !== MessageType.Transaction) continue;
    const text = `a transaction has one message, this request ${scan.messageCount}; send each in a transaction of its own`;
    return { code: Code.BadRequest, message: text };
  }
  for (let i = 1; i < scan.messageCount; i++) {
    if (!hasSameTopic(first, scan.messages[i]!)) {
      return { code: Code.MessageCorrupted, message: "all messages of one request must go to the same topic" };
    }
  }
  for (let i = 0; i < scan.messageCount; i++) {
    const refusal = refuseMessage(scan.messages[i]!);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Checks the messages of a send against the types that the topic takes. */
export function refuseTypes(scan: SendMessageScan, topicTypes: number): Refusal | undefined {
  for (let i = 0; i < scan.messageCount; i++) {
    const message = scan.messages[i]!;
    traits.declaredType = message.messageType;
    traits.hasDeliveryTime = message.hasDeliveryTimestamp;
    traits.hasMessageGroup = message.messageGroupEnd > message.messageGroupStart;
    const reason = refuseMessageType(traits, topicTypes) ?? refuseTransaction(message);
    if (reason !== undefined) return { code: Code.MessagePropertyConflictWithType, message: reason };
  }
  return undefined;
}

/** Checks the bodies of a send against what the topic's namespace allows; 0: it says nothing. */
export function refuseSizes(scan: SendMessageScan, bytesMax: number, namespace: string): Refusal | undefined {
  if (bytesMax === 0) return undefined;
  for (let i = 0; i < scan.messageCount; i++) {
    const message = scan.messages[i]!;
    const bytes = message.bodyEnd - message.bodyStart;
    if (bytes <= bytesMax) continue;
    const text = `the body has ${bytes} bytes, namespace "${namespace}" allows ${bytesMax}`;
    return refusal(Code.MessageBodyTooLarge, text);
  }
  return undefined;
}

/** A half message gets its queue with its commit, and is visible then or never. */
function refuseTransaction(message: MessageScan): string | undefined {
  if (message.messageType !== MessageType.Transaction) return undefined;
  const has =
    message.messageGroupEnd > message.messageGroupStart
      ? "a message group"
      : message.hasDeliveryTimestamp
        ? "a delivery time"
        : message.liteTopicEnd > message.liteTopicStart
          ? "a lite topic"
          : undefined;
  return has && `a transactional message cannot have ${has}; leave it out, or send a message of another type`;
}

/** One for all, so that the hot path makes none. */
const traits: { -readonly [K in keyof MessageTraits]: MessageTraits[K] } = {
  declaredType: 0,
  hasDeliveryTime: false,
  hasMessageGroup: false,
};

/** Undefined when the message is within all limits. */
export function refuseMessage(message: MessageScan): Refusal | undefined {
  const { bytes } = message;
  const bodyBytes = message.bodyEnd - message.bodyStart;
  if (bodyBytes > bodyBytesMax) {
    return refusal(Code.MessageBodyTooLarge, `the body has ${bodyBytes} bytes, ${bodyBytesMax} are allowed`);
  }
  if (bodyBytes === 0) return refusal(Code.MessageBodyEmpty, "the body is empty");
  const idBytes = message.messageIdEnd - message.messageIdStart;
  if (isBlank(bytes, message.messageIdStart, message.messageIdEnd)) {
    return refusal(Code.IllegalMessageId, "the message id is blank");
  }
  if (idBytes > messageIdBytesMax) {
    return refusal(Code.IllegalMessageId, `the message id has ${idBytes} bytes, ${messageIdBytesMax} are allowed`);
  }
  return (
    refuseTag(message) ??
    refuseKeys(message) ??
    refuseMessageGroup(message) ??
    refuseProperties(message) ??
    refuseRecoveryDuration(message)
  );
}

function refuseTag(message: MessageScan): Refusal | undefined {
  const { bytes, tagStart: start, tagEnd: end } = message;
  if (start < 0 || start === end) return undefined;
  if (isBlank(bytes, start, end)) return refusal(Code.IllegalMessageTag, "the tag is blank");
  if (includes(bytes, start, end, 0x7c)) {
    return refusal(Code.IllegalMessageTag, 'the tag contains "|", which separates tags in a filter');
  }
  return hasControl(bytes, start, end) ? refusal(Code.IllegalMessageTag, "the tag has control characters") : undefined;
}

function refuseKeys(message: MessageScan): Refusal | undefined {
  if (message.keyCount === 0) return undefined;
  const { bytes } = message;
  keyCursor.begin(message);
  while (keyCursor.next()) {
    const { keyStart: start, keyEnd: end } = keyCursor;
    if (start === end) continue;
    if (isBlank(bytes, start, end)) return refusal(Code.IllegalMessageKey, "a key is blank");
    if (hasControl(bytes, start, end)) return refusal(Code.IllegalMessageKey, "a key has control characters");
  }
  return undefined;
}

function refuseMessageGroup(message: MessageScan): Refusal | undefined {
  const { bytes, messageGroupStart: start, messageGroupEnd: end } = message;
  if (start < 0 || start === end) return undefined;
  if (isBlank(bytes, start, end)) return refusal(Code.IllegalMessageGroup, "the message group is blank");
  if (end - start >= messageGroupBytesLimit) {
    return refusal(
      Code.IllegalMessageGroup,
      `the message group has ${end - start} bytes, at most ${messageGroupBytesLimit - 1} are allowed`,
    );
  }
  return hasControl(bytes, start, end)
    ? refusal(Code.IllegalMessageGroup, "the message group has control characters")
    : undefined;
}

function refuseProperties(message: MessageScan): Refusal | undefined {
  if (message.propertyCount > propertiesMax) {
    return refusal(
      Code.MessagePropertiesTooLarge,
      `the message has ${message.propertyCount} properties, ${propertiesMax} are allowed`,
    );
  }
  let total = message.propertyBytes;
  if (message.tagStart >= 0) total += message.tagEnd - message.tagStart;
  if (message.keyCount > 0) {
    keyCursor.begin(message);
    while (keyCursor.next()) total += keyCursor.keyEnd - keyCursor.keyStart;
  }
  if (total > propertiesBytesMax) {
    return refusal(
      Code.MessagePropertiesTooLarge,
      `properties, tag and keys have ${total} bytes together, ${propertiesBytesMax} are allowed`,
    );
  }
  if (message.propertyCount === 0) return undefined;
  const { bytes } = message;
  propertyCursor.begin(message);
  while (propertyCursor.next()) {
    const { keyStart, keyEnd, valueStart, valueEnd } = propertyCursor;
    if (keyStart === keyEnd) return refusal(Code.IllegalMessagePropertyKey, "a property has an empty key");
    if (hasControl(bytes, keyStart, keyEnd)) {
      return refusal(Code.IllegalMessagePropertyKey, "the key of a property has control characters");
    }
    const key = cachedText(bytes, keyStart, keyEnd);
    if (isReservedPropertyKey(key)) {
      return refusal(
        Code.IllegalMessagePropertyKey,
        `the property key "${key.slice(0, 64)}" is reserved by the system`,
      );
    }
    if (hasControl(bytes, valueStart, valueEnd)) {
      return refusal(
        Code.IllegalMessagePropertyKey,
        `the value of property "${key.slice(0, 64)}" has control characters`,
      );
    }
  }
  return undefined;
}

/** How far ahead a delivery time may be is the broker's to say (`--delay-max`). */
function refuseRecoveryDuration(message: MessageScan): Refusal | undefined {
  if (message.hasRecoveryDuration && message.recoveryMs > recoveryMsMax) {
    return refusal(Code.BadRequest, "the orphaned transaction recovery duration is longer than one hour");
  }
  return undefined;
}

/** The topic as the client names it. */
export function topicOf(message: MessageScan): string {
  return cachedText(message.bytes, message.topicStart, message.topicEnd);
}

export function namespaceOf(message: MessageScan): string {
  return cachedText(message.bytes, message.namespaceStart, message.namespaceEnd);
}

function hasSameTopic(a: MessageScan, b: MessageScan): boolean {
  return topicOf(a) === topicOf(b) && namespaceOf(a) === namespaceOf(b);
}

function refusal(code: Code, message: string): Refusal {
  return { code, message };
}

/** U+0000 to U+001F and U+007F to U+009F, in bytes that are known to be UTF-8. */
function hasControl(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte < 0x20 || byte === 0x7f) return true;
    if (byte === 0xc2 && i + 1 < end && bytes[i + 1]! < 0xa0) return true;
  }
  return false;
}

/** Empty, or nothing but white space. */
function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return readText(bytes, start, end).trim() === "";
    if (byte > 0x20) return false;
  }
  return true;
}

function includes(bytes: Buffer, start: number, end: number, wanted: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === wanted) return true;
  return false;
}

/** Copies the ids of a send out of the request, one behind the other; `ends` gets where each ends. */
export function copyMessageIds(scan: SendMessageScan, ends: number[]): Buffer {
  let total = 0;
  for (let i = 0; i < scan.messageCount; i++) {
    const message = scan.messages[i]!;
    total += message.messageIdEnd - message.messageIdStart;
  }
  const ids = Buffer.allocUnsafe(total);
  let at = 0;
  for (let i = 0; i < scan.messageCount; i++) {
    const message = scan.messages[i]!;
    at = copyBytes(message.bytes, message.messageIdStart, message.messageIdEnd, ids, at);
    ends.push(at);
  }
  return ids;
}
