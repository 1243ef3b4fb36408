import assert from "node:assert/strict";
import { StateImageError } from "../../../../broker-core/dispatch/state-image.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

describe("a state image", () => {
  it("is refused when it is cut anywhere, and never taken for less", () => {
    const f = new BrokerFixture();
    const t = f.topic("ns/orders", { queueCount: 2 });
    const g = f.group("ns/billing", { attemptsMax: 1 });
    f.receive(t, g);
    f.sendMany(t, 3);
    f.receive(t, g, { attemptId: "a", batch: 1 });
    f.pass(10_000);
    f.receive(t, g, { attemptId: "b", batch: 1 });
    const image = f.state.snapshot();
    for (let length = 0; length < image.length; length++) {
      // Inside a page of zeros one cut is like the next: there only some are made.
      const isInZeros =
        length >= 16 && length % 509 !== 0 && image.subarray(length - 16, length + 16).every((b) => b === 0);
      if (isInZeros) continue;
      assert.throws(() => f.rebuild(image.subarray(0, length)), StateImageError, `${length} of ${image.length} bytes`);
    }
    assert.throws(() => f.rebuild(Buffer.concat([image, Buffer.alloc(1)])), StateImageError);
    const foreign = Buffer.from(image);
    foreign[4] = 99;
    assert.throws(() => f.rebuild(foreign), StateImageError);
    assert.deepEqual(f.rebuild(image).dump(), f.state.dump());
  });

  it("of a base is nearly as large as is told before one is made", () => {
    const f = new BrokerFixture();
    const g = f.group();
    for (let i = 0; i < 3_000; i++) f.receive(f.topic(`ns/topic-${i}`, { queueCount: 1 + (i % 2) }), g);
    const toldBytes = f.state.baseBytesMin;
    const { length } = f.state.baseImage(f.state.appliedPosition);
    assert.ok(toldBytes <= length && toldBytes > length * 0.8, `${toldBytes} of ${length} bytes`);
  });

  it("is the same whenever it is taken of the same state", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group();
    f.receive(t, g);
    f.sendMany(t, 100);
    f.receive(t, g);
    const image = f.state.snapshot();
    assert.deepEqual(f.rebuild(image).snapshot(), image);
  });
});
