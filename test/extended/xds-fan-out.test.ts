import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { compiledRoot } from "../support/running-process.ts";
import type { FanOutFigures } from "../support/xds-fan-out.ts";

const sidecars = 2_000;
const bytesPerSidecarMax = 64 * 1024;

describe(`${sidecars} sidecars on one discovery server`, function () {
  this.timeout(300_000);
  let figures: FanOutFigures;
  before(() => {
    const file = join(compiledRoot, "test/bench/xds-fan-out.js");
    const size = ["--sidecars", String(sidecars), "--topics", "2000", "--streams", "0", "--json"];
    const printed = execFileSync(process.execPath, ["--expose-gc", file, ...size], { encoding: "utf8" });
    figures = (JSON.parse(printed) as { simulated: FanOutFigures }).simulated;
  });

  it("take less than half of 64 KiB each for what the server knows of them", () => {
    // The other half is the connection's (npm run bench:xds).
    assert.ok(figures.heldPerSidecar > 100, `${figures.heldPerSidecar} names each`);
    assert.ok(figures.bytesPerSidecar < bytesPerSidecarMax / 2, `${figures.bytesPerSidecar} bytes each`);
  });

  it("are each told of a change once, those whom it concerns and nobody else, in a response of one resource", () => {
    for (const { receivers, responses, bytes } of [figures.rule, figures.topic, figures.flap]) {
      assert.equal(responses, receivers);
      assert.ok(bytes / receivers < 400, `${bytes / receivers} bytes each`);
    }
    assert.equal(figures.rule.receivers, sidecars);
    assert.ok(figures.topic.receivers > 0 && figures.topic.receivers < sidecars / 10);
    assert.ok(figures.flap.receivers > sidecars / 4 && figures.flap.receivers < sidecars);
  });
});
