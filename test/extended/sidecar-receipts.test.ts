import { assertReceiptsOutlive, killWithReceiptsOut } from "../support/sidecar-rounds.ts";
import { MeshParts } from "../support/start-parts.ts";

const rounds = 10;
const receipts = 1_000;

describe("SIGKILL to a sidecar with 1,000 receipts out, ten times", function () {
  this.timeout(300_000);
  let mesh: MeshParts;
  before(async () => {
    mesh = await MeshParts.start();
  });
  after(() => mesh?.stop());

  it("[T13, S8] lets all of them be acked elsewhere, in each round", async () => {
    const readyMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const report = await killWithReceiptsOut(mesh, round, receipts);
      assertReceiptsOutlive(report);
      readyMs.push(report.readyAfterMs);
    }
    const worstMs = Math.round(Math.max(...readyMs));
    console.log(
      `      ${rounds} kills, ${rounds * receipts} receipts acked elsewhere; ready again after at most ${worstMs} ms`,
    );
  });
});
