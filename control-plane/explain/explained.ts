import type { ClauseVerdict } from "../../proto/lane/lane-explanation.ts";
import type { LaneClause, WhenEmpty } from "../../proto/lane/lane-rule.ts";

/** How a lane of a group in a topic stands at a broker; docs/operator-calls.md. */
export interface LaneFacts {
  readonly lane: string;
  readonly ready: number;
  readonly inFlight: number;
  readonly isSpilled: boolean;
  readonly isClosing: boolean;
  /** Its rule takes it back: its consumers get nothing. */
  readonly isWithdrawn: boolean;
  /** All lanes of the broker are suspended; brokers of before there was a switch leave it out. */
  readonly areOff?: boolean;
  /** Null: of the base lane. */
  readonly whenEmpty: WhenEmpty | null;
  readonly waitingReceives: number;
  /** Clients that received in it lately; they may be gone. */
  readonly holders: readonly string[];
  readonly filter: string | null;
}

export interface RuleFacts {
  readonly name: string;
  /** Version. */
  readonly number: number;
  /** "": it is for every group. */
  readonly group: string;
  /** Log position from which on it decides. */
  readonly since: number;
}

/** Why a message is, or would be, of a lane of a group. */
export interface ExplainedGroup {
  readonly group: string;
  /** Null: none is in force. */
  readonly rule: RuleFacts | null;
  /** From 1; null: none held. */
  readonly clause: number | null;
  /** What the rule said. */
  readonly lane: string;
  readonly verdicts: readonly ClauseVerdict[];
  /** The lane whose it is; null: the group has not read the topic there. */
  readonly ownerLane: LaneFacts | null;
  readonly baseLane: LaneFacts | null;
}

/** The same of a message that is there. */
export interface ExplainedPlaceOfGroup extends ExplainedGroup {
  readonly state: "ahead" | "waits for its turn" | "done" | "in flight" | "dead" | "back";
  readonly holder?: string;
  readonly attempt?: number;
  readonly leftMs?: number;
  /** Messages of its lane before it in its queue, where it was not reached yet. */
  readonly before?: number;
}

export interface ExplainedEvent {
  /** Wall time. */
  readonly atMs: number;
  readonly event: string;
  readonly group?: string;
  readonly attempt?: number;
  readonly holder?: string;
  readonly lane?: string;
  readonly owner?: string;
  readonly invisibleMs?: number;
  readonly reason?: string;
}

/** A stored message, as `message.explain` tells it. */
export interface ExplainedCopy {
  readonly topic: string;
  readonly standing: string;
  readonly queueId: number | null;
  readonly offset: number | null;
  readonly storedMs: number;
  readonly laneMark: string | null;
  readonly message: { readonly messageId: string } | null;
  readonly groups: readonly ExplainedPlaceOfGroup[];
  readonly events: readonly ExplainedEvent[];
}

/** A group in a topic, as `lane.group` tells it. */
export interface ExplainedTopicOfGroup {
  readonly topic: string;
  readonly isOrdered: boolean;
  readonly inFlightMax: number;
  readonly rule: (RuleFacts & { readonly clauses: readonly LaneClause[] }) | null;
  readonly lanes: readonly LaneFacts[];
  readonly recent: {
    readonly looked: number;
    readonly byLane: Readonly<Record<string, number>>;
    readonly marks: Readonly<Record<string, number>>;
  };
}
