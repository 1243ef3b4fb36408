import assert from "node:assert/strict";
import type { Subscription } from "../../../../broker-core/pop/subscription.ts";
import { WakeList } from "../../../../broker-core/pop/wake-list.ts";
import type { Topic } from "../../../../broker-core/topic/topic.ts";

describe("The list of who is served at the end of a call", () => {
  const subscription = (topicId: number, waitHead: number): Subscription =>
    ({ isWaitedFor: waitHead >= 0, topic: { id: topicId } }) as unknown as Subscription;
  const topic = (...subscriptions: Subscription[]): Topic =>
    ({
      isWoken: false,
      waitCount: 1,
      subscriptionsInUse: new Map(subscriptions.map((each, i) => [i, each])),
    }) as unknown as Topic;

  function served(list: WakeList): { readonly subscriptions: Subscription[]; readonly liteTopics: number[] } {
    const subscriptions: Subscription[] = [];
    const liteTopics: number[] = [];
    list.serve(
      (each) => subscriptions.push(each),
      (topicId) => liteTopics.push(topicId),
    );
    return { subscriptions, liteTopics };
  }

  it("has each subscription that somebody waits on once, however many of its messages become visible", () => {
    const list = new WakeList(() => false);
    const [waiting, idle] = [subscription(1, 5), subscription(1, -1)];
    const t = topic(waiting, idle);
    for (let i = 0; i < 3; i++) list.addTopic(1, t);
    list.add(waiting);
    assert.deepEqual(served(list), { subscriptions: [waiting], liteTopics: [] });
    assert.equal(t.isWoken, false, "it may be woken again");
    list.addTopic(1, t);
    assert.deepEqual(served(list), { subscriptions: [waiting], liteTopics: [] });
  });

  it("passes over topics that nobody waits on", () => {
    const list = new WakeList(() => false);
    const t = { isWoken: false, waitCount: 0 } as unknown as Topic;
    list.addTopic(1, t);
    assert.equal(t.isWoken, false);
    assert.deepEqual(served(list), { subscriptions: [], liteTopics: [] });
  });

  it("has lite topics that a client waits on, also those that are put away", () => {
    const list = new WakeList((topicId) => topicId === 7);
    list.addTopic(7, undefined);
    list.addTopic(8, undefined);
    list.add(subscription(7, -1));
    assert.deepEqual(served(list), { subscriptions: [], liteTopics: [7] });
    assert.deepEqual(served(list), { subscriptions: [], liteTopics: [] });
  });

  it("forgets who is gone, and serves whom serving others wakes", () => {
    const list = new WakeList(() => false);
    const [gone, first, second] = [subscription(1, 1), subscription(2, 1), subscription(3, 1)];
    list.add(gone);
    list.add(first);
    list.forget(gone);
    const order: Subscription[] = [];
    list.serve(
      (each) => {
        order.push(each);
        if (each === first) list.add(second);
      },
      () => assert.fail(),
    );
    assert.deepEqual(order, [first, second]);
  });
});
