import { runQuickStart } from "../support/quick-start-run.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

describe("the quick start at length", () => {
  for (const tls of ["off", "on"] as const) {
    describe(`with TLS ${tls}`, () => {
      let mesh: Mesh;
      before(async () => {
        mesh = await startMesh();
      });
      after(() => mesh?.stop());

      it("sends 10 000 messages that a push consumer and a simple consumer each handle once", () =>
        runQuickStart(mesh, 10_000, tls, 120_000));
    });
  }
});
