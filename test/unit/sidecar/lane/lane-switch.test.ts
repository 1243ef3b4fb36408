import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LaneSwitch } from "../../../../sidecar/lane/lane-switch.ts";

describe("the kill switch of a sidecar", () => {
  it("is on until it is turned off, and outlives the process either way", async () => {
    const parent = mkdtempSync(join(tmpdir(), "popmesh-lane-switch-"));
    // As of a sidecar that has written nothing yet.
    const directory = join(parent, "sidecar");
    try {
      const first = await LaneSwitch.open(directory);
      assert.equal(first.isOff, false);
      const turned = first.turn(true);
      assert.equal(first.isOff, true, "in force before it is on disk");
      await turned;
      const second = await LaneSwitch.open(directory);
      assert.equal(second.isOff, true);
      await second.turn(false);
      assert.equal((await LaneSwitch.open(directory)).isOff, false);
    } finally {
      rmSync(parent, { recursive: true });
    }
  });
});
