import type { LanePublication } from "../resource/lane-publication.ts";
import type { LaneRuleStanding } from "./lane-publisher.ts";

/** What is to be done about a version on its way. */
export type PublicationStep =
  | { readonly step: "wait" }
  /** The first brokers have it: the others get it too. */
  | { readonly step: "all" }
  /** None of the first brokers is there: these get it first instead. */
  | { readonly step: "first"; readonly brokers: readonly string[] }
  | { readonly step: "end" }
  | { readonly step: "roll back"; readonly reason: string };

/** `standings`: of all brokers that hold the topic. */
export function publicationStep(
  { generation, stage, first, isRollback }: LanePublication,
  standings: readonly LaneRuleStanding[],
  isAlive: (broker: string) => boolean,
): PublicationStep {
  const refused = standings.find(({ state }) => state === "refused");
  if (refused !== undefined && !isRollback) {
    const reason = `broker "${refused.broker}" refused version ${generation}: ${refused.reason ?? "it did not say why"}`;
    return { step: "roll back", reason };
  }
  if (stage === "all") return standings.every(hasIt) ? { step: "end" } : { step: "wait" };
  const asked = standings.filter(({ broker }) => first.includes(broker) && isAlive(broker));
  if (asked.length > 0) return asked.every(hasIt) ? { step: "all" } : { step: "wait" };
  const others = standings.map(({ broker }) => broker).filter((broker) => isAlive(broker));
  if (others.length > 0) return { step: "first", brokers: others.slice(0, Math.max(1, first.length)) };
  // Nobody holds the topic any more.
  return standings.length === 0 ? { step: "end" } : { step: "wait" };
}

function hasIt({ state }: LaneRuleStanding): boolean {
  return state === "in force" || state === "ahead";
}
