import assert from "node:assert/strict";
import { backoffGrowth, backoffList, backoffMs } from "../../../../sidecar/route/backoff.ts";
import { homeOfMessageGroup, homesOfMessageGroup } from "../../../../sidecar/route/message-group-placement.ts";
import {
  acceptedMessageTypes,
  MessageType,
  readableSegment,
  refuseMessageType,
} from "../../../../sidecar/route/route-match.ts";
import type { RouteSegment, TopicRoute } from "../../../../sidecar/route/topic-route.ts";

const segment = (brokerName: string): RouteSegment => ({
  cluster: `bg/${brokerName}`,
  brokerName,
  queueCount: 4,
  isReadable: true,
  isWritable: true,
});
const routeOf = (...names: string[]): TopicRoute => {
  const segments = names.map(segment);
  const ref = { name: "default/t", incarnation: 1, messageTypes: 0, queueCount: 4 };
  const rest = { maxMessageBytes: 0, rateLimits: [], groupSpread: undefined };
  return { ref, segments, writable: segments, readable: segments, ...rest };
};

describe("route match", () => {
  it("[trap 13] lists only message types that SDKs know, smallest first, and four for a topic without a type", () => {
    assert.deepEqual(acceptedMessageTypes(0), [1, 2, 3, 4]);
    assert.deepEqual(acceptedMessageTypes(1), [1, 2, 3, 4], "UNSPECIFIED alone is no type");
    assert.deepEqual(acceptedMessageTypes(1 << 6), [6]);
    assert.deepEqual(acceptedMessageTypes((1 << 4) | (1 << 1) | (1 << 9)), [1, 4]);
  });

  it("reads from the broker that is named, else in turn", () => {
    const route = routeOf("a", "b");
    assert.equal(readableSegment(route, "b", () => assert.fail("a turn is used up"))?.brokerName, "b");
    assert.deepEqual(
      [0, 1, 2].map((turn) => readableSegment(route, "", () => turn)?.brokerName),
      ["a", "b", "a"],
    );
    assert.equal(
      readableSegment(routeOf(), "a", () => 0),
      undefined,
    );
  });

  it("asks the homes of before that a message group has had, then its home of now", () => {
    const homes = (group: string, sets: string[][], gone: string[] = []) => {
      const route = { ...routeOf("a", "b", "c", "d"), groupSpread: { number: 1, sets, gone: new Set(gone) } };
      return homesOfMessageGroup(route, group).map(({ brokerName }) => brokerName);
    };
    const place = (brokers: readonly string[], group: string) => homeOfMessageGroup(brokers, group) ?? "";
    let [left, came] = [0, 0];
    for (let i = 0; i < 500; i++) {
      const group = `order-${i}`;
      const [of3, of2, of4] = [
        ["a", "b", "c"],
        ["b", "c"],
        ["a", "b", "c", "d"],
      ].map((set) => place(set, group));
      // One leaves: only its own are asked for there.
      if (of3 === "a") left++;
      assert.deepEqual(
        homes(group, [
          ["b", "c"],
          ["a", "b", "c"],
        ]),
        of3 === "a" ? ["a", of2] : [of2],
        group,
      );
      assert.deepEqual(
        homes(
          group,
          [
            ["b", "c"],
            ["a", "b", "c"],
          ],
          ["a"],
        ),
        [of2],
        "it has nothing left",
      );
      // One comes: only those go there whose home it is.
      if (of4 === "d") came++;
      assert.deepEqual(
        homes(group, [
          ["a", "b", "c", "d"],
          ["a", "b", "c"],
        ]),
        of4 === "d" ? [of3, "d"] : [of3],
        group,
      );
      // And back again.
      assert.deepEqual(
        homes(group, [
          ["a", "b", "c"],
          ["b", "c"],
        ]),
        of3 === "a" ? [of2, "a"] : [of3],
        group,
      );
      assert.deepEqual(homes(group, [["x"], ["a"]]), [], "the home of now is no part of the route");
    }
    assert.ok(left > 100 && left < 240, `${left} of 500`);
    assert.ok(came > 70 && came < 190, `${came} of 500`);
  });

  it("[14, trap 6] places a message group by itself, the same whatever the order of the brokers", () => {
    const names = ["a", "b", "c", "d"];
    const place = homeOfMessageGroup;
    const counts = new Map<string, number>();
    let moved = 0;
    for (let i = 0; i < 4_000; i++) {
      const group = `order-${i}`;
      const broker = String(place(names, group));
      assert.equal(place([...names].reverse(), group), broker);
      counts.set(broker, (counts.get(broker) ?? 0) + 1);
      if (place([...names, "e"], group) !== broker) moved++;
    }
    for (const name of names)
      assert.ok(Math.abs((counts.get(name) ?? 0) - 1_000) < 150, `${name}: ${counts.get(name)}`);
    assert.ok(Math.abs(moved - 800) < 150, `${moved} of 4000 groups moved for a fifth broker; a fifth should`);
    assert.equal(place([], "g"), undefined);
  });
});

describe("back-off", () => {
  const growing = { kind: "exponential", initialMs: 1_000, maxMs: 5_000, multiplier: 2 } as const;
  const listed = { kind: "list", delaysMs: [1_000, 3_000] } as const;

  it("is the delay after an attempt, the last one repeated", () => {
    assert.deepEqual(
      [1, 2, 3, 4, 9].map((attempt) => backoffMs(growing, attempt)),
      [1_000, 2_000, 4_000, 5_000, 5_000],
    );
    assert.deepEqual(
      [0, 1, 2, 3].map((attempt) => backoffMs(listed, attempt)),
      [1_000, 1_000, 3_000, 3_000],
    );
  });

  it("can be told to clients that know only the other form", () => {
    assert.deepEqual(backoffList(growing, 17), [1_000, 2_000, 4_000, 5_000]);
    assert.deepEqual(backoffList(growing, 2), [1_000, 2_000]);
    assert.deepEqual(backoffGrowth(listed), { initialMs: 1_000, maxMs: 3_000, multiplier: 2 });
  });
});

describe("a topic of priorities", () => {
  const plain = { declaredType: 1, hasDeliveryTime: false, hasMessageGroup: false };
  it("takes what is declared NORMAL as the lowest priority, and no message group or delivery time", () => {
    const priorityOnly = 1 << MessageType.Priority;
    assert.equal(refuseMessageType(plain, priorityOnly), undefined);
    assert.equal(refuseMessageType({ ...plain, declaredType: MessageType.Priority }, priorityOnly), undefined);
    assert.match(refuseMessageType({ ...plain, hasMessageGroup: true }, priorityOnly) ?? "", /takes PRIORITY messages/);
    assert.match(refuseMessageType({ ...plain, hasDeliveryTime: true }, priorityOnly) ?? "", /this one is DELAY/);
  });
});
