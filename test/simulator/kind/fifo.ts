import { randomIndex } from "../../../proto/runtime/randomness.ts";
import { encodeMessage, type MessageKind, planGroup, planTopic, tags } from "../plan.ts";

const fifo = 1 << 2;
const normal = 1 << 1;

/** Message groups of one topic: few, so that each has a backlog behind its lock. */
const keys = ["ann", "bob", "cat", "dan", "eve"] as const;

/** Messages in message groups, in topics of their own or mixed with others. */
export const inOrder: MessageKind = {
  name: "fifo",
  plan(number, randomness) {
    const groupCount = 1 + randomIndex(randomness, 2);
    const groups = Array.from({ length: groupCount }, (_, i) => planGroup(`fifo-${number}-${i}`, randomness));
    return planTopic(number, randomness, inOrder, groups, { messageTypes: fifo | normal });
  },
  compose(id, bodyBytes, randomness) {
    const tag = tags[randomIndex(randomness, tags.length + 1)];
    const key = randomness.fraction() < 0.8 ? keys[randomIndex(randomness, keys.length)] : undefined;
    const seen = { ...(tag === undefined ? {} : { tag }), ...(key === undefined ? {} : { key }) };
    const properties = tag === undefined ? {} : { tag };
    const group = key === undefined ? {} : { messageGroup: key, messageType: 2 };
    return { bytes: encodeMessage(id, bodyBytes, { ...properties, ...group }), seen };
  },
};
