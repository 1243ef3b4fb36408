/**
 * A lane rule: which lane handles which message of a topic. Plain data, as it travels and lies in the log; `CompiledLaneRule`
 * (lane-classifier.ts) makes it something that can be asked.
 *
 * An ordered list of clauses; the first that holds for a message names its lane, and a message for which none holds is of
 * the base lane. What a clause says is decided by the message alone, never by who is alive or what time it is: the
 * same rule and the same message give the same lane everywhere and for ever.
 */
export interface LaneRule {
  readonly clauses: readonly LaneClause[];
  readonly whenEmpty: WhenEmpty;
  /**
   * Lanes that were taken back: their consumers are given nothing, and the base lane handles what is theirs, whoever is alive. That is
   * how a version that fails is kept from what it was sent before. Left out: none.
   */
  readonly withdrawn?: readonly string[];
  /** A share of the topic's messages is copied to another topic. Left out: none. */
  readonly mirror?: Mirror;
}

/** Copies of messages for others to look at; what becomes of the messages themselves does not depend on it. */
export interface Mirror {
  /** "<namespace>/<topic>" that gets the copies. */
  readonly topic: string;
  /** Share in percent, 0 to 100 in steps of 0.01; left out: 100. */
  readonly percent?: number;
}

/** All conditions that are there must hold; a clause without any holds for every message. */
export interface LaneClause {
  /** The lane that handles what the clause holds for. */
  readonly to: string;
  /** Lane mark of the message, stamped by the producer's sidecar. */
  readonly lane?: string;
  /** Tag expression: `a || b`. */
  readonly tag?: string;
  /** User properties and the values they must have. */
  readonly properties?: Readonly<Record<string, string>>;
  /** SQL92 expression over the message's properties (docs/filter.md). Unknown counts as false. */
  readonly sql?: string;
  /**
   * Share of what the conditions hold for, in percent, 0 to 100 in steps of 0.01; left out: 100. The share is of message groups,
   * else of first keys, else of ids, so that what belongs together stays together (lane-bucket.ts).
   */
  readonly percent?: number;
}

/** What becomes of a lane's messages while nobody consumes in it. */
export type WhenEmpty =
  /** After `afterMs` without a live consumer of the lane, base consumers handle its messages too, until one is back. */
  | { readonly action: "spill"; readonly afterMs: number }
  /** They wait for a consumer of the lane. */
  | { readonly action: "hold" };

/** The lane of everything that no rule sends elsewhere. */
export const baseLane = "base";

/** Lanes of other lanes' messages that have no consumer for so long are handled by the base lane, where a rule says nothing. */
export const whenEmptyDefault: WhenEmpty = { action: "spill", afterMs: 2_000 };

export const laneRuleLimits = {
  /** Clauses of one rule. */
  clausesMax: 64,
  /** UTF-8 bytes of a lane's name: a receipt holds it. */
  laneBytesMax: 63,
  propertiesMax: 16,
  /** Characters of a property's name or value. */
  propertyLengthMax: 255,
  spillAfterMsMax: 86_400_000,
} as const;

/** A DNS label: lanes become labels, metric values and parts of receipts elsewhere. */
const lanePattern = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Why `name` cannot be a lane; undefined when it can. */
export function laneNameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (name.length > laneRuleLimits.laneBytesMax) return `is longer than ${laneRuleLimits.laneBytesMax} characters`;
  return lanePattern.test(name) ? undefined : "may hold small letters, digits, and within them -";
}
