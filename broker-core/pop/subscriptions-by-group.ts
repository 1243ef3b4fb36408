import type { Subscription } from "./subscription.ts";

/** Subscriptions of one topic by group: a map from the second on, for nearly all topics are read by one group. */
export class SubscriptionsByGroup {
  #only: Subscription | undefined = undefined;
  /** All of them, while or since there are several. */
  #all: Map<number, Subscription> | undefined = undefined;

  get size(): number {
    if (this.#all !== undefined) return this.#all.size;
    return this.#only === undefined ? 0 : 1;
  }

  get(groupId: number): Subscription | undefined {
    if (this.#all !== undefined) return this.#all.get(groupId);
    return this.#only?.group.id === groupId ? this.#only : undefined;
  }

  /** Its group has none yet. */
  add(subscription: Subscription): void {
    if (this.#all === undefined && this.#only === undefined) {
      this.#only = subscription;
      return;
    }
    if (this.#all === undefined) {
      this.#all = new Map();
      if (this.#only !== undefined) this.#all.set(this.#only.group.id, this.#only);
      this.#only = undefined;
    }
    this.#all.set(subscription.group.id, subscription);
  }

  delete(groupId: number): void {
    if (this.#all !== undefined) this.#all.delete(groupId);
    else if (this.#only?.group.id === groupId) this.#only = undefined;
  }

  /** Those that are deleted meanwhile are left out. */
  values(): Iterable<Subscription> {
    if (this.#all !== undefined) return this.#all.values();
    return this.#only === undefined ? [] : [this.#only];
  }
}
