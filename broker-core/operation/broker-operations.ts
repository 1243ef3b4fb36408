import type { LogReader, LogWriter } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import type { Sender } from "../dispatch/sender.ts";
import type { Subscription } from "../pop/subscription.ts";
import { brokerDrain } from "./broker-drain.ts";
import { deadLetterOperations } from "./dead-letters.ts";
import { describeGroup } from "./describe-group.ts";
import { groupAdoption } from "./group-adoption.ts";
import { groupReset } from "./group-reset.ts";
import { type LaneOperationDoors, laneOperations } from "./lane-operations.ts";
import type { Operation } from "./operations.ts";
import { topicTransfer } from "./topic-transfer.ts";

/** Whom operator calls speak to beside tables, log and journal. */
export interface OperationDoors extends LaneOperationDoors {
  readonly sender: Sender;
  /** A group may have something for calls that wait. */
  readonly wake: (subscription: Subscription) => void;
}

/** All operator calls that a broker's state answers by itself. */
export function brokerOperations(
  tables: BrokerTables,
  log: LogReader & LogWriter,
  journal: Journal,
  doors: OperationDoors,
): Operation[] {
  const { sender, wake, openTopic, inFlightMax } = doors;
  return [
    describeGroup(tables, log, inFlightMax),
    groupReset(tables, log, journal, wake),
    groupAdoption(tables, journal),
    brokerDrain(tables, journal),
    ...laneOperations(tables, log, journal, doors),
    ...deadLetterOperations(tables, log, journal, wake),
    ...topicTransfer(tables, log, sender, openTopic),
  ];
}
