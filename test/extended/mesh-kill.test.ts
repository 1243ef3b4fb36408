import { assertNothingLost, killTable, killUnderLoad, type MeshPart } from "../support/kill-rounds.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

const roundsByPart: Readonly<Record<MeshPart, number>> = { "broker-core": 60, sidecar: 15, "control-plane": 15 };

describe("many kills under load, with the official SDK", function () {
  // Sixty kills with a few seconds each until the SDK is at work again, and room for a slow machine.
  this.timeout(1_200_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh();
  });
  after(() => mesh?.stop());

  for (const [part, rounds] of Object.entries(roundsByPart)) {
    it(`of the ${part}, ${rounds} times: nothing acknowledged is lost, nothing acked comes back`, async () => {
      const report = await killUnderLoad(mesh, part as MeshPart, rounds, 50);
      console.log(`      ${killTable(part as MeshPart, report)}`);
      assertNothingLost(report);
    });
  }
});
