import { assertDrained, drainUnderLoad } from "../support/sidecar-rounds.ts";
import { MeshParts } from "../support/start-parts.ts";

const rounds = 10;

describe("SIGTERM to a sidecar under load, ten times", function () {
  this.timeout(180_000);
  let mesh: MeshParts;
  before(async () => {
    mesh = await MeshParts.start();
  });
  after(() => mesh?.stop());

  it("[T12] loses nothing in any round", async () => {
    let sent = 0;
    const handedBackMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const report = await drainUnderLoad(mesh, round);
      assertDrained(report);
      sent += report.sent;
      handedBackMs.push(report.handedBackAfterMs);
    }
    const worstMs = Math.round(Math.max(...handedBackMs));
    console.log(
      `      ${rounds} drains, ${sent} sends, 0 lost, 0 failed acks; all at hand elsewhere after ${worstMs} ms`,
    );
  });
});
