import { Code } from "../../proto/code.ts";
import { Resolution } from "./resolution-ring.ts";

/** Numbers of enum TransactionResolution of apache.rocketmq.v2. */
export const TransactionResolution = { Unspecified: 0, Commit: 1, Rollback: 2 } as const;
/** Numbers of enum TransactionSource. */
export const TransactionSource = { Unspecified: 0, Client: 1, ServerCheck: 2 } as const;

/** What becomes of a request to end a transaction. */
export type EndDecision =
  /** It is open: write the end down. */
  | { readonly kind: "commit" | "rollback" }
  /** Nothing to do: it ended so already, or the producer does not know yet. */
  | { readonly kind: "done" }
  | { readonly kind: "refuse"; readonly code: Code; readonly message: string };

const done: EndDecision = { kind: "done" };

/**
 * Decides about a transaction of ours. `past`: how it ended; `Resolution.None` with `isOpen` false: it ended so long ago that
 * nobody knows how. A decision that is repeated is carried out once and answered OK as often as it is asked; its opposite is
 * refused, for the message was made visible, or thrown away, and that cannot be taken back.
 */
export function decideEnd(isOpen: boolean, past: Resolution, wanted: number): EndDecision {
  if (wanted !== TransactionResolution.Commit && wanted !== TransactionResolution.Rollback) {
    // "Unknown" keeps the check pending, and says nothing about one that is over.
    if (wanted === TransactionResolution.Unspecified) return done;
    return refuse(Code.BadRequest, `transaction resolution ${wanted} is unknown; send COMMIT or ROLLBACK`);
  }
  const isCommit = wanted === TransactionResolution.Commit;
  if (isOpen) return isCommit ? { kind: "commit" } : { kind: "rollback" };
  switch (past) {
    case Resolution.None:
      return refuse(
        Code.InvalidTransactionId,
        "the transaction ended so long ago that nobody knows how; nothing was changed, look for its message instead",
      );
    case Resolution.Committed:
      if (isCommit) return done;
      return refuse(
        Code.BadRequest,
        "the transaction was committed before and its message may be consumed already; send one that undoes it",
      );
    case Resolution.TopicGone:
      return refuse(
        Code.TopicNotFound,
        "the topic of the transaction was deleted, and its half message with it; send the message again",
      );
    case Resolution.Lost:
      return refuse(
        Code.InvalidTransactionId,
        "the half message is lost with a damaged part of the log; send the message again",
      );
    default:
      if (!isCommit) return done;
      return refuse(
        Code.BadRequest,
        `the transaction was rolled back before: ${rollbackText(past)}; send the message again in a new transaction`,
      );
  }
}

function rollbackText(past: Resolution): string {
  switch (past) {
    case Resolution.RolledBack:
      return "its producer said so";
    case Resolution.RolledBackAfterCheck:
      return "a producer of the topic said so when it was asked";
    case Resolution.ChecksExhausted:
      return "its producers were asked as often as is allowed and did not know";
    default:
      return "it was open for longer than is allowed";
  }
}

function refuse(code: Code, message: string): EndDecision {
  return { kind: "refuse", code, message };
}
