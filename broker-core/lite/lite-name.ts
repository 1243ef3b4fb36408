/** Bit of MessageType LITE of apache.rocketmq.v2. */
const liteTypeBit = 1 << 5;

/** A topic whose messages each name a lite topic: it holds none itself, its lite topics do. */
export function isLiteParent(messageTypes: number): boolean {
  return messageTypes === liteTypeBit;
}

/** What a lite topic accepts: LITE and NORMAL, which tells it from a parent. */
export const liteChildTypes = (1 << 5) | (1 << 1);

/**
 * The topic that holds a lite topic's messages: "<namespace>/<parent>/<lite topic>". No user's topic has a second slash, so the two
 * never meet.
 */
export function liteTopicName(parentName: string, liteTopic: string): string {
  return `${parentName}/${liteTopic}`;
}

/** Longest name, in characters; the SDKs are told the same. */
export const liteTopicLengthMax = 64;
const allowed = /^[a-zA-Z0-9_-]{1,64}$/;

export function isLiteTopicName(text: string): boolean {
  return allowed.test(text);
}
