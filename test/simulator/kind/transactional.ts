import { randomIndex } from "../../../proto/runtime/randomness.ts";
import { encodeMessage, type MessageKind, planGroup, planTopic } from "../plan.ts";

const typeTransaction = 4;

/** Half messages, whose producers commit, roll back, or say nothing until they are asked. */
export const transactional: MessageKind = {
  name: "transactional",
  plan(number, randomness) {
    const groups = [planGroup(`transactional-${number}`, randomness)];
    return planTopic(number, randomness, transactional, groups, { messageTypes: 1 << typeTransaction });
  },
  compose(id, bodyBytes, randomness) {
    // Some ask to be asked soon: a run of seconds would not live to see the default.
    const askAfter = randomIndex(randomness, 3);
    const orphanedTransactionRecoveryDuration = askAfter === 0 ? {} : { seconds: askAfter };
    const bytes = encodeMessage(id, bodyBytes, {
      messageType: typeTransaction,
      ...(askAfter === 0 ? {} : { orphanedTransactionRecoveryDuration }),
    });
    return { bytes, seen: { isHalf: true } };
  },
};
