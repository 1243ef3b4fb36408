import type { Topic } from "../topic/topic.ts";
import type { Subscription } from "./subscription.ts";

/** Who may be served at the end of the call at hand, because something became visible: each once, in the order of waking. */
export class WakeList {
  /** Marked, so that a topic whose messages become durable by the hundred is looked at once. */
  readonly #topics: Topic[] = [];
  readonly #subscriptions = new Set<Subscription>();
  readonly #liteTopics = new Set<number>();
  readonly #isLiteWanted: (topicId: number) => boolean;

  /** `isLiteWanted`: whether a client waits on that lite topic; it needs no object of the topic. */
  constructor(isLiteWanted: (topicId: number) => boolean) {
    this.#isLiteWanted = isLiteWanted;
  }

  /** Nobody but clients of lite topics waits on a topic that is put away: `topic` is undefined then. */
  addTopic(topicId: number, topic: Topic | undefined): void {
    if (topic?.isWoken === true) return;
    if (this.#isLiteWanted(topicId)) this.#liteTopics.add(topicId);
    // Of many topics that messages are sent to, few are waited on.
    if (topic === undefined || topic.waitCount === 0) return;
    topic.isWoken = true;
    this.#topics.push(topic);
    for (const subscription of topic.subscriptionsInUse?.values() ?? []) this.add(subscription);
  }

  add(subscription: Subscription): void {
    if (subscription.isWaitedFor) this.#subscriptions.add(subscription);
    if (this.#isLiteWanted(subscription.topic.id)) this.#liteTopics.add(subscription.topic.id);
  }

  /** Nobody is to be served. */
  get isEmpty(): boolean {
    return this.#topics.length + this.#subscriptions.size + this.#liteTopics.size === 0;
  }

  /** The subscription is gone. */
  forget(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }

  /** Empties the list into the two functions; what they add is served too. */
  serve(subscriptionWoken: (subscription: Subscription) => void, liteTopicWoken: (topicId: number) => void): void {
    for (const topic of this.#topics) topic.isWoken = false;
    this.#topics.length = 0;
    for (const subscription of this.#subscriptions) {
      this.#subscriptions.delete(subscription);
      subscriptionWoken(subscription);
    }
    for (const topicId of this.#liteTopics) {
      this.#liteTopics.delete(topicId);
      liteTopicWoken(topicId);
    }
  }
}
