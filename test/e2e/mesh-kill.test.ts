import { assertNothingLost, killTable, killUnderLoad, type MeshPart } from "../support/kill-rounds.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

describe("kill -9 under load, with the official SDK", function () {
  this.timeout(120_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh();
  });
  after(() => mesh?.stop());

  for (const part of ["broker-core", "sidecar", "control-plane"] satisfies MeshPart[]) {
    it(`of the ${part} loses no acknowledged send and redelivers nothing that was acked`, async () => {
      const report = await killUnderLoad(mesh, part, 2, 50);
      console.log(`      ${killTable(part, report)}`);
      assertNothingLost(report);
    });
  }
});
