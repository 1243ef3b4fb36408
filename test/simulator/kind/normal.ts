import { randomIndex } from "../../../proto/runtime/randomness.ts";
import { encodeMessage, type MessageKind, planGroup, planTopic, tags } from "../plan.ts";

/** Messages without order, in up to three groups. */
export const normal: MessageKind = {
  name: "normal",
  plan(number, randomness) {
    const groupCount = 1 + randomIndex(randomness, 3);
    const groups = Array.from({ length: groupCount }, (_, i) => planGroup(`normal-${number}-${i}`, randomness));
    return planTopic(number, randomness, normal, groups);
  },
  compose(id, bodyBytes, randomness) {
    const tag = tags[randomIndex(randomness, tags.length + 1)];
    const bytes = encodeMessage(id, bodyBytes, tag === undefined ? {} : { tag });
    return { bytes, seen: tag === undefined ? {} : { tag } };
  },
};
