import assert from "node:assert/strict";
import {
  ByteBudget,
  Counted,
  completeLimits,
  defaultHttp2Limits,
  SecondCounter,
} from "../../../../../sidecar/listener/http2/limits.ts";

describe("limits of the engine", () => {
  it("have defaults that fit together", () => {
    assert.deepEqual(completeLimits(), defaultHttp2Limits);
  });

  it("make the share of a connection smaller with the whole", () => {
    assert.equal(completeLimits({ inflightBytesMax: 1024 }).inflightBytesPerConnectionMax, 1024);
  });

  const wrong = [
    { streamsMax: 0 },
    { pingsPerSecondMax: 1.5 },
    { frameBytesMax: 1000 },
    { frameBytesMax: 2 ** 24 },
    { connectionWindowBytes: 2 ** 31 },
    { streamWindowBytes: 32 * 1024 * 1024 },
    { firstByteMsMax: 20_000 },
    { inflightBytesPerConnectionMax: 2048, inflightBytesMax: 1024 },
  ];
  for (const limits of wrong) {
    it(`refuse ${JSON.stringify(limits)} and name it`, () => {
      const name = Object.keys(limits)[0] ?? "";
      assert.throws(() => completeLimits(limits), {
        name: "RangeError",
        message: new RegExp(name === "connectionWindowBytes" ? "window" : name),
      });
    });
  }

  it("count per second and begin anew with the next", () => {
    const counter = new SecondCounter();
    counter.advance(5000);
    assert.equal(counter.add(Counted.Ping), 1);
    assert.equal(counter.add(Counted.Ping), 2);
    assert.equal(counter.count(Counted.Settings), 0);
    counter.advance(5999);
    assert.equal(counter.count(Counted.Ping), 2);
    counter.advance(6000);
    assert.equal(counter.count(Counted.Ping), 0);
  });

  it("take all or nothing from a budget", () => {
    const budget = new ByteBudget(100);
    assert.ok(budget.take(60));
    assert.ok(!budget.take(41));
    assert.equal(budget.used, 60);
    assert.ok(budget.take(40));
    budget.giveBack(60);
    assert.ok(budget.take(60));
  });
});
