import assert from "node:assert/strict";
import { checkBrokerModel } from "../support/broker-commands.ts";
import { BrokerRun } from "../support/broker-run.ts";
import { tooSeldom } from "../support/seeded-fast-check.ts";

describe("the broker state machine against its model (T06)", () => {
  it("keeps its promises in 300 random histories with crashes, reboots, clock jumps and rebuilds", () => {
    assert.deepEqual(tooSeldom(checkBrokerModel(300, 130, 100), 100), []);
  }).timeout(240_000);

  it("hands nothing out to a group of whose leases more run again than may be: the wall clock was set back over a reboot", () => {
    // Seed 2217566508: the model expected an answer where the broker rightly refuses.
    const run = new BrokerRun();
    for (let i = 0; i < 5; i++) run.send("red");
    run.sync();
    const narrow = (batch: number, attemptId = "") => run.handOuts.receive(1, batch, 1, "client-1", attemptId, 0);
    narrow(5);
    run.settling.forward(0);
    narrow(1);
    run.pass(3);
    run.settling.redrive(1, 0);
    narrow(1);
    run.sync();
    run.reboot(-7_200_000, false);
    assert.equal(run.real.figures("ns/narrow", "ns/orders").inFlight, 5, "of four that may be");
    narrow(1, "a");
    run.drain();
  });
});
