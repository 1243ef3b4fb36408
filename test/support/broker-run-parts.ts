import type { BrokerFixture } from "./broker-fixture.ts";
import type { BrokerModel, HeldReceipt, ModelGroup, ModelLease } from "./broker-model.ts";
import type { ModelHandOuts } from "./model-hand-outs.ts";

/** What runs did of themselves, so that a run that did nothing is seen. */
export const runCountsBlank = {
  ...{
    delivered: 0,
    acked: 0,
    dead: 0,
    forwarded: 0,
    redriven: 0,
    resets: 0,
    crashes: 0,
    repeated: 0,
    stale: 0,
    parked: 0,
  },
  /** Messages that retention removed before a group had consumed them. */
  expired: 0,
  /** Messages of a message group that a client saw, each after all before it were settled. */
  inOrder: 0,
};

/** What the parts of a run share: the real thing, the model beside it, and what clients hold. */
export interface RunParts {
  readonly real: BrokerFixture;
  readonly model: BrokerModel;
  readonly handOuts: ModelHandOuts;
  readonly receipts: HeldReceipt[];
  readonly counts: typeof runCountsBlank;
  /** Everything is on disk. */
  sync(): void;
  /** What waits for its time or its end is written again at the end of the log. */
  carried(): void;
  /** Leases end whose time has come. */
  endDue(): void;
  bury(group: ModelGroup, id: string, lease: ModelLease): void;
  /** After every step: the real thing is where the model is. */
  check(): void;
}
