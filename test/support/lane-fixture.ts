import assert from "node:assert/strict";
import type { ReceiveCall } from "../../broker-core/broker-port.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { IndexFiles } from "../../broker-core/consume-queue/index-files.ts";
import { readLaneEvent } from "../../broker-core/record/lane-event-record.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { BrokerFixture, type Got, type MessageParts, messageBytes } from "./broker-fixture.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const eventNames = new Map<RecordType, string>([
  [RecordType.LaneSpilled, "spilled"],
  [RecordType.LaneResumed, "resumed"],
  [RecordType.LaneClosed, "closed"],
]);

/** What `lane.rule` takes as a rule. */
export interface RuleParts {
  readonly clauses: readonly object[];
  readonly whenEmpty?: object;
  readonly withdrawn?: readonly string[];
  readonly mirror?: object;
}

/** Everything marked for a lane goes to it. */
export const byMark = (...lanes: string[]): RuleParts => ({ clauses: lanes.map((lane) => ({ to: lane, lane })) });
/** So many percent go to a lane. */
export const byShare = (percent: number, lane = "canary"): RuleParts => ({ clauses: [{ to: lane, percent }] });

/** A broker with one topic, and short words for what the tests of lanes do. */
export class LaneFixture {
  readonly f: BrokerFixture;
  readonly topicId: number;
  readonly groupId: number;
  #number = 0;

  /** `losesIndex`: each start finds nothing of the index on disk that its checkpoint names. */
  constructor(
    options: { messageTypes?: number; queueCount?: number; attemptsMax?: number; losesIndex?: boolean } = {},
  ) {
    const { attemptsMax = 0, losesIndex = false, ...topic } = options;
    const anew = {
      groupStart: "beginning" as const,
      get indexPages() {
        const randomness = new SeededRandomness(7);
        return new IndexFiles({ storage: new SimulatedDisk(), randomness, log: silentLog, fileBytes: 7_000 });
      },
    };
    this.f = new BrokerFixture(losesIndex ? anew : { groupStart: "beginning" });
    this.topicId = this.f.topic("ns/orders", { messageTypes: 0b11011, ...topic });
    this.groupId = this.f.group("ns/billing", { attemptsMax });
  }

  rule(rule: RuleParts | null, group = ""): Record<string, unknown> {
    const order = { topic: "ns/orders", group, name: "orders-canary", number: ++this.#number, rule };
    const result = this.f.operate("lane.rule", order);
    this.f.advance();
    return result;
  }

  /** Sends a message of a lane mark and returns its id. */
  send(id: string, laneMark = "", parts: MessageParts = {}): string {
    const messages = [messageBytes({ ...parts, id })];
    const sent = this.f.state.send({ topicId: this.topicId, laneMark, bornHost: "h", messages }, this.f.now);
    assert.ok(sent.ok, sent.ok ? "" : sent.message);
    this.f.sync();
    return id;
  }

  /** What a consumer of a lane gets now. */
  pop(lane = "", call: Partial<ReceiveCall> = {}): readonly Got[] {
    const got = this.f.receive(this.topicId, this.groupId, { lane, clientId: `${lane || "base"}-1`, ...call });
    return got;
  }

  ids(lane = "", call: Partial<ReceiveCall> = {}): string[] {
    return this.pop(lane, call).map(({ id }) => id);
  }

  /** Receives in a lane and acks it all. */
  handle(lane = "", call: Partial<ReceiveCall> = {}): string[] {
    return this.pop(lane, call).map(({ id, receipt }) => {
      this.f.ack(this.groupId, receipt);
      return id;
    });
  }

  /** What became of lanes, in the order of the log. */
  get events(): string[] {
    const events: string[] = [];
    for (const { type, body } of this.f.log.records(0)) {
      const name = eventNames.get(type);
      if (name !== undefined) events.push(`${readLaneEvent(body, 0, body.length).lane} ${name}`);
    }
    return events;
  }
}
