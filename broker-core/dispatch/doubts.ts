/** Messages that were passed by and are remembered, of one queue of a subscription. */
const passedMax = 1_000_000;

/**
 * What lost records leave open of one queue of a subscription, and what the records prove that are left. All of it is about messages by
 * their offsets, so it means nothing any more once the position is set anew or the subscription is gone (`Doubts.forget`).
 */
export class QueueDoubt {
  /** By lane: so many parts were lost when its position was last followed. Hand-outs in those, below it, are accounted for. */
  readonly followed = new Map<number, number>();
  /**
   * Lost messages that are out: each locks a message group that nobody knows any more, so whatever is not handed out meanwhile may
   * wait for it.
   */
  readonly lostOut = new Set<number>();
  /**
   * Redriven messages that were not handed out since: by the live broker's state, which is not known, they may wait behind another
   * message of their message group, and a hand-out of that one does not prove them settled.
   */
  readonly redriven = new Set<number>();
  /** Messages that lanes were handed which are not theirs by the rules that are left. */
  readonly ofUnknownRule = new Set<number>();
  readonly #passedBy: number[] = [];

  /** A message was passed by since something is lost: because of a filter, by all that is known. */
  notePassed(offset: number): void {
    if (this.#passedBy.length < passedMax) this.#passedBy.push(offset);
  }

  /** What was passed by, once. */
  takePassed(): number[] {
    return this.#passedBy.splice(0);
  }
}

class SubscriptionDoubt {
  readonly byQueue = new Map<number, QueueDoubt>();
  /**
   * Only while the order of message groups is not known: how far each message group was handed out, by queue, then by hash. Also
   * where nothing is lost: the record that is to bring the order may turn out to be.
   */
  readonly outTo = new Map<number, Map<number, number>>();
  /** A lane rule is lost: what the subscription passes by may be of a lane that nobody knows. */
  isRuleLost = false;
}

/**
 * What lost records leave open (decisions/2026-11-26-doubt-goes-with-its-subscription.md): kept by subscription and queue, and gone with
 * them. Slots of subscriptions are used again; what was known of an earlier one says nothing of the next.
 */
export class Doubts {
  readonly #bySubscription = new Map<number, SubscriptionDoubt>();

  /** Of one queue; made when there is none. */
  of(subscriptionSlot: number, queueId: number): QueueDoubt {
    const { byQueue } = this.#ofSubscription(subscriptionSlot);
    let doubt = byQueue.get(queueId);
    if (doubt === undefined) byQueue.set(queueId, (doubt = new QueueDoubt()));
    return doubt;
  }

  /** Of one queue, if there is any. */
  at(subscriptionSlot: number, queueId: number): QueueDoubt | undefined {
    return this.#bySubscription.get(subscriptionSlot)?.byQueue.get(queueId);
  }

  /** The queues of a subscription of which something is open. */
  queuesOf(subscriptionSlot: number): Iterable<readonly [number, QueueDoubt]> {
    return this.#bySubscription.get(subscriptionSlot)?.byQueue ?? [];
  }

  isRuleLost(subscriptionSlot: number): boolean {
    return this.#bySubscription.get(subscriptionSlot)?.isRuleLost === true;
  }

  ruleLost(subscriptionSlot: number): void {
    this.#ofSubscription(subscriptionSlot).isRuleLost = true;
  }

  /** While the order of message groups is not known: a message of one (`groupHash`) is out, or was. */
  outWhilePartial(subscriptionSlot: number, queueId: number, groupHash: number, offset: number): void {
    const { outTo } = this.#ofSubscription(subscriptionSlot);
    let byGroup = outTo.get(queueId);
    if (byGroup === undefined) outTo.set(queueId, (byGroup = new Map()));
    byGroup.set(groupHash, Math.max(byGroup.get(groupHash) ?? 0, offset));
  }

  /** How far the message group was handed out while the order was not known; -1: it was not. */
  outTo(subscriptionSlot: number, queueId: number, groupHash: number): number {
    return this.#bySubscription.get(subscriptionSlot)?.outTo.get(queueId)?.get(groupHash) ?? -1;
  }

  /** The order of message groups is known now. */
  endPartial(): void {
    for (const { outTo } of this.#bySubscription.values()) outTo.clear();
  }

  /** The subscription is gone, or its position in a queue is set anew: nothing of what was open says anything of what follows. */
  forget(subscriptionSlot: number, queueId?: number): void {
    if (queueId === undefined) {
      this.#bySubscription.delete(subscriptionSlot);
      return;
    }
    const doubt = this.#bySubscription.get(subscriptionSlot);
    doubt?.byQueue.delete(queueId);
    doubt?.outTo.delete(queueId);
  }

  /** Whoever writes what follows knew all of this. */
  clear(): void {
    this.#bySubscription.clear();
  }

  #ofSubscription(slot: number): SubscriptionDoubt {
    let doubt = this.#bySubscription.get(slot);
    if (doubt === undefined) this.#bySubscription.set(slot, (doubt = new SubscriptionDoubt()));
    return doubt;
  }
}
