import type { LaneClause } from "../../proto/lane/lane-rule.ts";
import type { LaneRuleStanding } from "../operation/lane-publisher.ts";
import type { LanePublication } from "../resource/lane-publication.ts";
import type { LaneRuleRecord, LaneRuleSpec } from "../resource/lane-rule.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import type { ResourceVersion } from "../resource/resource-version.ts";
import { durationText, isoTime, type ResourceView } from "./view.ts";

/** `standings`: how it stands at the brokers that hold its topic. */
export function laneRuleView(
  rule: LaneRuleRecord,
  standings: readonly LaneRuleStanding[],
  publication?: LanePublication,
  latest?: ResourceVersion<LaneRuleSpec>,
): ResourceView {
  const { namespace, name, generation, createdMs, createdBy, changedMs, changedBy } = rule;
  return {
    apiVersion: manifestApiVersion,
    kind: "LaneRule",
    metadata: { namespace, name },
    spec: laneRuleSpecView(rule),
    status: {
      generation,
      lanes: lanesOf(rule),
      createdAt: isoTime(createdMs),
      createdBy,
      changedAt: isoTime(changedMs),
      changedBy,
      publication: publicationView(standings, publication),
      ...(latest?.reason === undefined ? {} : { rolledBackBecause: latest.reason }),
      lanesOffAt: standings.filter(({ lanes }) => lanes === "off").map(({ broker }) => broker),
      brokers: standings,
    },
  };
}

/** How far a version is on its way; `waitsFor` is empty when it is everywhere. */
function publicationView(standings: readonly LaneRuleStanding[], publication: LanePublication | undefined): object {
  const meant =
    publication?.stage === "first" ? standings.filter(({ broker }) => publication.first.includes(broker)) : standings;
  const waitsFor = meant.filter(({ state }) => state !== "in force" && state !== "ahead").map(({ broker }) => broker);
  if (publication === undefined) return { state: waitsFor.length === 0 ? "complete" : "catching up", waitsFor };
  const state = publication.stage === "first" ? "first brokers" : "all brokers";
  return { state, first: publication.first, goesBackTo: publication.base, waitsFor };
}

/** A spec as people write it. */
export function laneRuleSpecView({
  topic,
  group,
  clauses,
  whenEmpty,
  withdrawn,
  mirror,
}: LaneRuleSpec): ResourceView["spec"] {
  return {
    topic,
    ...(group === "" ? {} : { group }),
    rules: clauses.map(clauseView),
    whenEmpty:
      whenEmpty.action === "spill"
        ? { action: whenEmpty.action, after: durationText(whenEmpty.afterMs) }
        : { action: whenEmpty.action },
    ...(withdrawn === undefined ? {} : { withdrawn }),
    ...(mirror === undefined ? {} : { mirror }),
  };
}

/** Lanes that a rule sends to, each once, in the order of its clauses. */
export function lanesOf({ clauses }: LaneRuleSpec): string[] {
  return [...new Set(clauses.map(({ to }) => to))];
}

function clauseView({ to, percent, lane, tag, properties, sql }: LaneClause): object {
  const when = {
    ...(lane === undefined ? {} : { lane }),
    ...(tag === undefined ? {} : { tag }),
    ...(properties === undefined ? {} : { properties }),
    ...(sql === undefined ? {} : { sql }),
  };
  return {
    ...(Object.keys(when).length === 0 ? {} : { when }),
    ...(percent === undefined ? {} : { percent }),
    to,
  };
}
