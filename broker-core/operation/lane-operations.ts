import type { Now, Opened, TopicOpening } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import type { LaneKeeper, ParkedReceives } from "../lane/lane-keeper.ts";
import type { Subscription } from "../pop/subscription.ts";
import { laneEvaluate } from "./lane-evaluate.ts";
import { laneGroup } from "./lane-group.ts";
import { laneOutcomes } from "./lane-outcomes.ts";
import { laneRuleOperations } from "./lane-rules.ts";
import { laneSwitching } from "./lane-switching.ts";
import type { Operation } from "./operations.ts";

/** Whom the operator calls of lanes speak to beside tables and log. */
export interface LaneOperationDoors {
  readonly openTopic: (opening: TopicOpening, now: Now) => Opened;
  readonly inFlightMax: (subscription: Subscription) => number;
  readonly keeper: LaneKeeper;
  readonly receives: ParkedReceives;
}

/** All operator calls that are about lanes. */
export function laneOperations(
  tables: BrokerTables,
  log: LogReader,
  journal: Journal,
  { openTopic, inFlightMax, keeper, receives }: LaneOperationDoors,
): Operation[] {
  return [
    ...laneRuleOperations(tables, log, journal, openTopic, (topic, now) => keeper.ruled(topic, receives, now)),
    laneEvaluate(tables),
    laneOutcomes(tables, log, journal.run),
    laneGroup(tables, log, inFlightMax),
    ...laneSwitching(tables, journal, (now) => keeper.switched(receives, now)),
  ];
}
