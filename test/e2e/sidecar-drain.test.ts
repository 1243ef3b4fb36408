import { assertDrained, drainUnderLoad } from "../support/sidecar-rounds.ts";
import { MeshParts } from "../support/start-parts.ts";

describe("SIGTERM to a sidecar under load", function () {
  this.timeout(60_000);
  let mesh: MeshParts;
  before(async () => {
    mesh = await MeshParts.start();
  });
  after(() => mesh?.stop());

  it("[T12] loses nothing, fails no ack before the application left, hands back what it had popped, exits 0", async () => {
    const report = await drainUnderLoad(mesh, 0);
    assertDrained(report);
  });
});
