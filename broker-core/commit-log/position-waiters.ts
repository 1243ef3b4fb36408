/** Actions that wait for the log to pass a position, in order of position; equal positions in order of arrival. */
export class PositionWaiters {
  #positions: number[] = [];
  #actions: (() => void)[] = [];
  #head = 0;

  get count(): number {
    return this.#positions.length - this.#head;
  }

  add(position: number, action: () => void): void {
    // Nearly always the highest so far; a late-comer for an older position is sorted in.
    let at = this.#positions.length;
    while (at > this.#head && this.#positions[at - 1]! > position) at--;
    if (at === this.#positions.length) {
      this.#positions.push(position);
      this.#actions.push(action);
    } else {
      this.#positions.splice(at, 0, position);
      this.#actions.splice(at, 0, action);
    }
  }

  /** Runs what waits for positions below `passed`. An action may add others. */
  advance(passed: number): void {
    while (this.#head < this.#positions.length && this.#positions[this.#head]! < passed) {
      const action = this.#actions[this.#head]!;
      this.#head++;
      action();
    }
    if (this.#head === this.#positions.length) {
      this.#positions.length = 0;
      this.#actions.length = 0;
      this.#head = 0;
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#positions.length) {
      this.#positions = this.#positions.slice(this.#head);
      this.#actions = this.#actions.slice(this.#head);
      this.#head = 0;
    }
  }
}
