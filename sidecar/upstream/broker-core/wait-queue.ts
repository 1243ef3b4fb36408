import { FrameKind } from "../../../proto/frame/frame.ts";

/** Stale entries tolerated beside as many live ones before the queue is swept. */
const staleAllowed = 64;

/**
 * Calls that wait for their turn, by correlation id, first come first served. A call that ends while it waits is not
 * searched for: its id is stale then and is passed over.
 */
export class WaitQueue {
  readonly #isLive: (correlation: number) => boolean;
  #correlations: number[] = [];
  #head = 0;

  constructor(isLive: (correlation: number) => boolean) {
    this.#isLive = isLive;
  }

  get isEmpty(): boolean {
    return this.first() === undefined;
  }

  /** `liveCount` calls wait at most: when the queue is far longer, the stale ones are dropped. */
  add(correlation: number, liveCount: number): void {
    this.#correlations.push(correlation);
    if (this.#correlations.length - this.#head <= 2 * liveCount + staleAllowed) return;
    this.#correlations = this.#correlations.slice(this.#head).filter(this.#isLive);
    this.#head = 0;
  }

  /** The first call that still waits. */
  first(): number | undefined {
    while (this.#head < this.#correlations.length) {
      const correlation = this.#correlations[this.#head]!;
      if (this.#isLive(correlation)) return correlation;
      this.#head++;
    }
    this.#correlations.length = 0;
    this.#head = 0;
    return undefined;
  }

  /** Takes what `first` told. */
  shift(): void {
    this.#head++;
    if (this.#head < 1024 || this.#head * 2 < this.#correlations.length) return;
    this.#correlations = this.#correlations.slice(this.#head);
    this.#head = 0;
  }
}

/** One queue for each class of call, in the order in which they go: giving back must not wait behind new work. */
export class WaitQueues {
  /** Acks, changes and whatever is rare; sends; receives. */
  readonly inOrder: readonly [settles: WaitQueue, sends: WaitQueue, receives: WaitQueue];

  constructor(isLive: (correlation: number) => boolean) {
    this.inOrder = [new WaitQueue(isLive), new WaitQueue(isLive), new WaitQueue(isLive)];
  }

  of(kind: number): WaitQueue {
    const [settles, sends, receives] = this.inOrder;
    if (kind === FrameKind.Send) return sends;
    return kind === FrameKind.Receive ? receives : settles;
  }
}
