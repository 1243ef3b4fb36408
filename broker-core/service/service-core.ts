import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { BrokerPort, Now } from "../broker-port.ts";
import type { LogWriter } from "../commit-log/log.ts";
import type { AnswerGate } from "./answer-gate.ts";
import type { ColdLane } from "./cold-lane.ts";
import type { LanePresences } from "./lane-presences.ts";
import type { ProducerDirectory } from "./producer-directory.ts";
import type { PullTable } from "./pull-table.ts";
import type { ReceiveTable } from "./receive-table.ts";
import type { ServiceMetrics } from "./service-metrics.ts";
import type { StateTimer } from "./state-timer.ts";
import type { Windows } from "./window.ts";

/** What the handlers of all connections share. */
export interface ServiceCore {
  readonly port: BrokerPort;
  readonly log: LogWriter;
  readonly clock: Clock;
  readonly diagnostics: Log;
  readonly metrics: ServiceMetrics;
  readonly windows: Windows;
  /** Name of the broker group, as receipts carry it. */
  readonly brokerName: string;
  /** Names this run of the process. */
  readonly runId: number;
  /** Answers that wait for their record to be in the page cache, or on disk. */
  readonly written: AnswerGate;
  readonly durable: AnswerGate;
  readonly receives: ReceiveTable;
  readonly producers: ProducerDirectory;
  readonly presences: LanePresences;
  readonly pulls: PullTable;
  readonly coldLane: ColdLane;
  readonly timer: StateTimer;
  /** The process is stopping: nothing is parked any more. */
  isDraining: boolean;
  /** Both clocks, now. */
  now(): Now;
}
