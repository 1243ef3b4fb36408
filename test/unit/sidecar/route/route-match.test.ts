import assert from "node:assert/strict";
import { backoffGrowth, backoffList, backoffMs } from "../../../../sidecar/route/backoff.ts";
import { homesOfMessageGroup, segmentOfMessageGroup } from "../../../../sidecar/route/message-group-placement.ts";
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
  groupSet: 1,
  isLeftByGroups: false,
});
const routeOf = (...names: string[]): TopicRoute => {
  const segments = names.map(segment);
  const ref = { name: "default/t", incarnation: 1, messageTypes: 0, queueCount: 4 };
  const groups = { groupTakers: segments, hasLeavingGroups: false };
  return { ref, segments, writable: segments, readable: segments, maxMessageBytes: 0, rateLimits: [], ...groups };
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

  it("asks brokers that message groups leave before the one that takes them, and the next set when all of one leave", () => {
    const route = (...brokers: readonly [name: string, groupSet: number, isLeft: boolean][]): TopicRoute => ({
      ...routeOf(),
      segments: brokers.map(([name, groupSet, isLeftByGroups]) => ({ ...segment(name), groupSet, isLeftByGroups })),
    });
    const homes = (of: TopicRoute, group: string) => homesOfMessageGroup(of, group).map(({ brokerName }) => brokerName);
    const groups = Array.from({ length: 500 }, (_, i) => `order-${i}`);
    const before = new Map(
      groups.map((group) => [group, homes(route(["a", 1, false], ["b", 1, false], ["c", 1, false]), group)]),
    );
    let left = 0;
    for (const group of groups) {
      const [home] = before.get(group)!;
      // Only those of the broker that leaves are asked for there, and go where they go when it is gone.
      const leaving = homes(route(["a", 1, true], ["b", 1, false], ["c", 1, false]), group);
      const gone = homes(route(["b", 1, false], ["c", 1, false]), group);
      if (home === "a") left++;
      assert.deepEqual(leaving, home === "a" ? ["a", ...gone] : [home], group);
      // A broker that was added takes none of them.
      assert.deepEqual(homes(route(["a", 1, false], ["b", 1, false], ["c", 1, false], ["d", 0, false]), group), [home]);
      assert.equal(homes(route(["a", 1, true], ["d", 2, false]), group).join(), "a,d");
    }
    assert.ok(left > 100 && left < 240, `${left} of 500`);
  });

  it("[14, trap 6] places a message group by itself, the same whatever the order of the brokers", () => {
    const names = ["a", "b", "c", "d"];
    const place = (brokers: readonly string[], group: string) =>
      segmentOfMessageGroup(brokers.map(segment), group)?.brokerName;
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
