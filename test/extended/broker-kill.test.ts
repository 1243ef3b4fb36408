import assert from "node:assert/strict";
import { assertSurvived, killBrokerUnderLoad, killSummary } from "../support/broker-kill-run.ts";
import { BrokerProcess } from "../support/start-broker.ts";
import { amount } from "../support/test-factor.ts";

const cycles = amount(60, 1_000);

/** T04: 60 cycles of SIGKILL under load. Small segments and checkpoints, so that kills also meet rolls and checkpoints. */
describe(`A broker process killed ${cycles} times under load`, () => {
  for (const flush of ["sync", "async"] as const) {
    it(`loses nothing with --flush ${flush}: SIGKILL spares what was written`, async () => {
      const broker = await BrokerProcess.start([
        ...["--flush", flush, "--segment-size", "16MiB", "--checkpoint-every", "1MiB"],
      ]);
      try {
        const report = await killBrokerUnderLoad(broker, flush === "sync" ? cycles : Math.floor(cycles / 6), 300);
        console.log(`      ${killSummary(report)}`);
        assertSurvived(report);
        assert.ok(report.history.counts.sendsOk >= 3_000);
      } finally {
        await broker.dispose();
      }
    });
  }
});
