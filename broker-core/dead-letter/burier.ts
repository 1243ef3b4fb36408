import type { Now } from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { judgeFailed } from "../pop/outcome-judge.ts";
import type { Subscription } from "../pop/subscription.ts";
import { deadLetterGroup } from "../topic/consumer-group.ts";
import type { Opener } from "../topic/opener.ts";
import { deadLetterTopicName } from "../topic/topic.ts";
import { decideDeadLetter } from "./dead-letter-decision.ts";

/** Moves messages to the dead-letter topic of their group, `%DLQ%<group>`, which it opens at the first one. */
export class Burier {
  readonly #tables: BrokerTables;
  readonly #log: LogReader & Pick<LogWriter, "youngPosition">;
  readonly #journal: Journal;
  readonly #opener: Opener;

  constructor(
    tables: BrokerTables,
    log: LogReader & Pick<LogWriter, "youngPosition">,
    journal: Journal,
    opener: Opener,
  ) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#opener = opener;
  }

  bury(subscription: Subscription, slot: number, reason: number, now: Now): void {
    const deadTopic = this.#opener.ownTopic(deadLetterTopicName(deadLetterGroup(subscription.group)));
    const { record, messageRecord } = decideDeadLetter(
      this.#tables,
      this.#log,
      subscription,
      slot,
      deadTopic,
      reason,
      now.wallMs,
    );
    const { lanes } = subscription;
    const lane = lanes?.consumerLane(this.#tables.lanes.text(this.#tables.leases.lane[slot]!)) ?? 0;
    if (lanes !== undefined) judgeFailed(this.#tables, slot);
    this.#journal.deadLetter(record, messageRecord);
    lanes?.outcomes.died(lane);
  }

  /** Whether the lease's last allowed attempt is used up. */
  isExhausted(subscription: Subscription, slot: number): boolean {
    const { attemptsMax } = subscription.group.policy;
    return attemptsMax > 0 && this.#tables.leases.attempt[slot]! >= attemptsMax;
  }
}
