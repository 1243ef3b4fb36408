import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repositoryRoot } from "../support/running-process.ts";
import { startMesh } from "../support/start-mesh.ts";
import { SidecarUnderTest } from "../support/start-sidecar.ts";
import { declaredIn, type GoldenMesh, popmesh, savedResources } from "./golden-mesh.ts";
import { goldenReleases } from "./golden-set.ts";
import { unpackTree } from "./packed-tree.ts";

for (const release of goldenReleases()) {
  describe(`what a mesh of release ${release} has left beside its brokers (T26)`, function () {
    this.timeout(60_000);
    const golden = JSON.parse(
      readFileSync(join(repositoryRoot, "test/golden", release, "mesh.json"), "utf8"),
    ) as GoldenMesh;
    let directory: string;
    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), "popmesh-golden-"));
    });
    afterEach(() => rmSync(directory, { recursive: true, force: true }));

    it("is served: the control plane's store declares the same, an exported topic comes in whole", async () => {
      unpackTree(golden.controlPlane, join(directory, "mesh/control-plane"));
      unpackTree(golden.exported, join(directory, "export"));
      const mesh = await startMesh({ dataDirectory: join(directory, "mesh") });
      try {
        assert.deepEqual(whatOf(await declaredIn(mesh), golden.declared), golden.declared);
        await popmesh(mesh, "topic", "import", join(directory, "export"), "--topic", "copy");
        const again = await popmesh(mesh, "topic", "export", "copy", "--to", join(directory, "again"));
        assert.match(again, new RegExp(`digest ${golden.exportDigest}`));
      } finally {
        await mesh.stop();
      }
    });

    it("is enough for a sidecar that finds no control plane: its last good configuration is in force", async () => {
      unpackTree(golden.sidecar, directory);
      assert.deepEqual(await savedResources(directory), golden.resources);
      const sidecar = await SidecarUnderTest.start({ dataDirectory: directory, controlPlanePort: 1 });
      try {
        const dump = await (await fetch(`http://127.0.0.1:${sidecar.sidecar.adminPort}/config_dump`)).text();
        assert.ok(golden.resources.length >= 3);
        for (const { name } of golden.resources)
          assert.ok(dump.includes(JSON.stringify(name)), `${name} is not in force`);
      } finally {
        await sidecar.stop();
      }
    });
  });
}

/** Of what is told today, what the release told too: later ones may tell more of the same thing, and nothing less. */
function whatOf(told: unknown, then: unknown): unknown {
  if (Array.isArray(told) && Array.isArray(then)) return told.map((each, i) => whatOf(each, then[i]));
  if (typeof told !== "object" || told === null || typeof then !== "object" || then === null) return told;
  const known = Object.entries(then).filter(([name]) => name in told);
  return Object.fromEntries(
    known.map(([name, value]) => [name, whatOf((told as Record<string, unknown>)[name], value)]),
  );
}
