import { assertReceiptsOutlive, killWithReceiptsOut } from "../support/sidecar-rounds.ts";
import { MeshParts } from "../support/start-parts.ts";

describe("SIGKILL to a sidecar with receipts out", function () {
  this.timeout(60_000);
  let mesh: MeshParts;
  before(async () => {
    mesh = await MeshParts.start();
  });
  after(() => mesh?.stop());

  it("[T13, S8] lets all of them be acked through its successor and through another sidecar", async () => {
    assertReceiptsOutlive(await killWithReceiptsOut(mesh, 0, 200));
  });
});
