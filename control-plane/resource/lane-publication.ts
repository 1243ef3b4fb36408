/**
 * A version of a lane rule on its way to the brokers: first to a share of them, then to all; taken back when one refuses it. Kept with the
 * rule, so that a control plane that dies in the middle goes on where it was. There is none when the way is over.
 */
export interface LanePublication {
  /** Of the version. */
  readonly generation: number;
  /** The version that was last in force everywhere, to which it goes back; 0: there was none, the rule goes. */
  readonly base: number;
  readonly stage: "first" | "all";
  /** Brokers that get it first, in order. */
  readonly first: readonly string[];
  /** Takes another version back: it is not taken back itself. */
  readonly isRollback: boolean;
}

/** Of the brokers that hold a topic, so many get a version first: at least one. */
export const firstShare = 0.25;
