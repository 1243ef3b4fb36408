import assert from "node:assert/strict";
import type { Subscription } from "../../../../broker-core/pop/subscription.ts";
import { SubscriptionsByGroup } from "../../../../broker-core/pop/subscriptions-by-group.ts";

describe("the subscriptions of a topic by group", () => {
  it("are found, listed and counted, one as well as several, and while some are taken out", () => {
    const subscriptions = new SubscriptionsByGroup();
    const of = (id: number) => ({ group: { id } }) as Subscription;
    const ids = () => Array.from(subscriptions.values(), ({ group }) => group.id);
    const all = [1, 2, 3, 4].map(of);
    const expectAre = (...expected: number[]): void => {
      assert.deepEqual([ids(), subscriptions.size], [expected, expected.length]);
      for (const [i, subscription] of all.entries()) {
        assert.equal(subscriptions.get(i + 1), expected.includes(i + 1) ? subscription : undefined);
      }
    };
    expectAre();
    subscriptions.delete(1);
    subscriptions.add(all[0]!);
    expectAre(1);
    subscriptions.delete(2);
    expectAre(1);
    subscriptions.delete(1);
    expectAre();
    subscriptions.add(all[1]!);
    subscriptions.add(all[2]!);
    subscriptions.add(all[0]!);
    expectAre(2, 3, 1);
    for (const { group } of subscriptions.values()) subscriptions.delete(group.id);
    expectAre();
    subscriptions.add(all[3]!);
    expectAre(4);
  });
});
