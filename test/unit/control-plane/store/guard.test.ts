import assert from "node:assert/strict";
import { guardStore, type StoreFound } from "../../../../control-plane/store/guard.ts";

const found = (changes: Partial<StoreFound>): StoreFound => ({
  markerCount: undefined,
  storeCount: undefined,
  bootstrap: false,
  acceptEmptyStore: false,
  ...changes,
});

describe("the guard of the store", () => {
  for (const [what, state, serves] of [
    ["serves a store that holds what was known", { markerCount: 10, storeCount: 10 }, true],
    ["serves a store whose marker lags behind", { markerCount: 3, storeCount: 10 }, true],
    ["serves a store whose marker was never written", { storeCount: 10 }, true],
    ["serves a store that lost half", { markerCount: 10, storeCount: 5 }, true],
    ["refuses a store that lost more than half", { markerCount: 10, storeCount: 4 }, false],
    ["refuses an empty store that was not empty", { markerCount: 1, storeCount: 0 }, false],
    ["serves an empty store that always was", { markerCount: 0, storeCount: 0 }, true],
    ["refuses a directory without a store", {}, false],
    ["creates a store where it is told to", { bootstrap: true }, true],
    [
      "does not create one where there was another, though told to bootstrap",
      { markerCount: 1, bootstrap: true },
      false,
    ],
    ["does not let bootstrap excuse a loss", { markerCount: 10, storeCount: 4, bootstrap: true }, false],
    ["creates one again when the loss is confirmed", { markerCount: 1, acceptEmptyStore: true }, true],
    [
      "serves what is left when the loss is confirmed",
      { markerCount: 10, storeCount: 0, acceptEmptyStore: true },
      true,
    ],
  ] as const) {
    it(what, () => {
      const decision = guardStore(found(state));
      assert.equal(decision.serve, serves);
      if (!decision.serve) assert.match(decision.reason, /--(bootstrap|accept-empty-store) true/);
    });
  }
});
