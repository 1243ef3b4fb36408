/**
 * Index entries whose records are not on disk yet, oldest first: a ring of (log position, queue slot). Consumers do not see
 * them (B3); an advance of the durable position takes them out at the front.
 */
export class UndurableEntries {
  #positions = new Float64Array(1024);
  #queues = new Uint32Array(1024);
  #head = 0;
  #count = 0;

  push(position: number, queueSlot: number): void {
    if (this.#count === this.#positions.length) this.#grow();
    const at = (this.#head + this.#count++) & (this.#positions.length - 1);
    this.#positions[at] = position;
    this.#queues[at] = queueSlot;
  }

  /** Takes the oldest entry below `durablePosition` and returns its queue slot; -1 when there is none. */
  take(durablePosition: number): number {
    if (this.#count === 0 || this.#positions[this.#head]! >= durablePosition) return -1;
    const queue = this.#queues[this.#head]!;
    this.#head = (this.#head + 1) & (this.#positions.length - 1);
    this.#count--;
    return queue;
  }

  /** Forgets the entries of a queue that is dropped: its slot may be used again. */
  forget(queueSlot: number): void {
    const mask = this.#positions.length - 1;
    let kept = 0;
    for (let i = 0; i < this.#count; i++) {
      const from = (this.#head + i) & mask;
      if (this.#queues[from] === queueSlot) continue;
      const to = (this.#head + kept++) & mask;
      this.#positions[to] = this.#positions[from]!;
      this.#queues[to] = this.#queues[from]!;
    }
    this.#count = kept;
  }

  #grow(): void {
    const length = this.#positions.length;
    const positions = new Float64Array(length * 2);
    const queues = new Uint32Array(length * 2);
    for (let i = 0; i < this.#count; i++) {
      positions[i] = this.#positions[(this.#head + i) & (length - 1)]!;
      queues[i] = this.#queues[(this.#head + i) & (length - 1)]!;
    }
    this.#positions = positions;
    this.#queues = queues;
    this.#head = 0;
  }
}
