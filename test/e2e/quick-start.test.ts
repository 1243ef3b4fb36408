import { runQuickStart } from "../support/quick-start-run.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

describe("the quick start, with the official SDK through three real processes", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh();
  });
  after(() => mesh?.stop());

  for (const tls of ["off", "on"] as const) {
    it(`sends 200 messages that a push consumer and a simple consumer each handle once, TLS ${tls}`, () =>
      runQuickStart(mesh, 200, tls, 40_000));
  }
});
