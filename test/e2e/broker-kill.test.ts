import assert from "node:assert/strict";
import { assertSurvived, killBrokerUnderLoad, killSummary } from "../support/broker-kill-run.ts";
import { BrokerProcess } from "../support/start-broker.ts";

describe("A broker process killed under load", function () {
  this.timeout(90_000);

  it("loses nothing, doubles nothing that was acked, and is soon ready again", async () => {
    const broker = await BrokerProcess.start();
    try {
      const report = await killBrokerUnderLoad(broker, 5, 200);
      console.log(`      ${killSummary(report)}`);
      assertSurvived(report);
      assert.ok(report.history.counts.sendsOk >= 1_000 && report.history.counts.acksOk >= 1_000);
    } finally {
      await broker.dispose();
    }
  });
});
