import assert from "node:assert/strict";
import type { LogPlaces } from "../../../../broker-core/commit-log/log-places.ts";
import { ColdLane, type ColdRead } from "../../../../broker-core/service/cold-lane.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

/** Positions below are cold. */
const coldBelow = 1_000;

class Fixture {
  readonly clock = new ManualClock({ automaticTurns: false });
  readonly atHand = new Set<number>();
  /** Fetches under way, by position. */
  readonly fetching = new Map<number, () => void>();
  readonly served: string[] = [];
  /** What each read takes. */
  readMs = 0;
  readonly lane: ColdLane;

  constructor(turnTook?: (ms: number) => void) {
    this.lane = new ColdLane(
      {
        isCold: (position) => position < coldBelow,
        isAtHand: ({ positions }) => this.atHand.has(positions[0]!),
        fetch: ({ positions }, done) => void this.fetching.set(positions[0]!, done),
      },
      this.clock,
      turnTook,
    );
  }

  read(name: string, position: number, batch = 32): ColdRead & { isGone: boolean } {
    return {
      ...{ isGone: false, batch },
      places: (into: LogPlaces) => void into.add(position, 100),
      run: () => {
        this.served.push(name);
        this.clock.advance(this.readMs);
      },
    };
  }

  take(name: string, position: number, batch?: number): ColdRead & { isGone: boolean } {
    const read = this.read(name, position, batch);
    assert.equal(this.lane.takes(read), true);
    return read;
  }

  came(position: number): void {
    const done = this.fetching.get(position)!;
    this.fetching.delete(position);
    this.atHand.add(position);
    done();
  }
}

describe("ColdLane", () => {
  it("leaves what is in memory anyway, and what finds nothing, to the caller", () => {
    const f = new Fixture();
    assert.equal(f.lane.takes(f.read("hot", coldBelow)), false);
    assert.equal(f.lane.takes({ ...f.read("empty", 0), places: () => {} }), false);
    assert.equal(f.lane.count, 0);
  });

  it("serves a batch per turn in the order in which they came, however many wait", () => {
    const f = new Fixture();
    for (let i = 0; i < 200; i++) {
      f.atHand.add(i);
      f.take(`${i}`, i);
    }
    assert.deepEqual(f.served, [], "not in the turn in which they come");
    for (let turn = 1; turn <= 200; turn++) {
      f.clock.endTurn();
      assert.equal(f.served.length, turn);
    }
    assert.deepEqual(
      f.served,
      Array.from({ length: 200 }, (_, i) => `${i}`),
    );
    assert.equal(f.lane.count, 0);
  });

  it("serves small ones together", () => {
    const f = new Fixture();
    for (let i = 0; i < 64; i++) {
      f.atHand.add(i);
      f.take(`${i}`, i, 1);
    }
    f.clock.endTurn();
    assert.equal(f.served.length, 32);
  });

  it("ends a turn that has taken its time, whatever was brought", () => {
    const tookMs: number[] = [];
    const f = new Fixture((ms) => tookMs.push(ms));
    for (let i = 0; i < 4; i++) {
      f.atHand.add(i);
      f.take(`${i}`, i, 1);
    }
    f.readMs = 0.2;
    f.clock.endTurn();
    assert.deepEqual(f.served, ["0", "1"]);
    f.readMs = 3;
    f.clock.endTurn();
    assert.deepEqual(f.served, ["0", "1", "2"]);
    assert.deepEqual(
      tookMs.map((ms) => ms.toFixed(1)),
      ["0.4", "3.0"],
    );
  });

  it("fetches two at a time, serves what has come first, and then goes on", () => {
    const f = new Fixture();
    for (const [i, name] of ["a", "b", "c", "d"].entries()) f.take(name, i);
    f.clock.endTurn();
    f.clock.endTurn();
    assert.deepEqual([...f.fetching.keys()], [0, 1]);
    assert.deepEqual(f.served, []);
    f.came(1);
    f.clock.endTurn();
    f.clock.endTurn();
    assert.deepEqual(f.served, ["b"]);
    assert.deepEqual([...f.fetching.keys()], [0, 2]);
    for (const position of [0, 2]) f.came(position);
    for (let i = 0; i < 4; i++) f.clock.endTurn();
    assert.deepEqual([...f.fetching.keys()], [3]);
    f.came(3);
    f.clock.endTurn();
    assert.deepEqual(f.served, ["b", "a", "c", "d"]);
    assert.equal(f.lane.count, 0);
  });

  it("serves what was fetched once even if it lies elsewhere now: nobody is sent round for ever", () => {
    const f = new Fixture();
    f.take("a", 0);
    f.clock.endTurn();
    const done = f.fetching.get(0)!;
    f.fetching.clear();
    done();
    f.clock.endTurn();
    assert.deepEqual(f.served, ["a"]);
    assert.equal(f.fetching.size, 0);
  });

  it("passes by those whose clients have gone, fetched or not, without a turn for them", () => {
    const f = new Fixture();
    const gone = Array.from({ length: 100 }, (_, i) => f.take(`gone ${i}`, i));
    f.clock.endTurn();
    for (const read of gone) read.isGone = true;
    f.atHand.add(500);
    f.take("here", 500);
    f.came(0);
    f.clock.endTurn();
    assert.deepEqual(f.served, ["here"]);
  });
});
