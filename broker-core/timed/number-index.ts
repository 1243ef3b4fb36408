import { mix, SlotIndex } from "../pop/slot-index.ts";

/** Parts of the index; each grows by itself, so that no insert waits for millions of entries to be placed anew. */
const partBits = 10;

/** From a number (53 bits, unique) to the row that has it. 8 bytes per place, 11 to 22 per entry. */
export class NumberIndex {
  readonly #parts: (SlotIndex | undefined)[] = new Array(1 << partBits).fill(undefined);
  readonly #numberOf: (row: number) => number;

  constructor(numberOf: (row: number) => number) {
    this.#numberOf = numberOf;
  }

  /** -1 when no row has the number. */
  find(number: number): number {
    const hash = hashOf(number);
    const part = this.#parts[hash >>> (32 - partBits)];
    if (part === undefined) return -1;
    for (let place = part.first(hash); place >= 0; place = part.next(place, hash)) {
      const row = part.slotAt(place);
      if (this.#numberOf(row) === number) return row;
    }
    return -1;
  }

  add(number: number, row: number): void {
    const hash = hashOf(number);
    const at = hash >>> (32 - partBits);
    let part = this.#parts[at];
    if (part === undefined) {
      part = new SlotIndex();
      this.#parts[at] = part;
    }
    part.insert(hash, row);
  }

  remove(number: number, row: number): void {
    const hash = hashOf(number);
    this.#parts[hash >>> (32 - partBits)]!.remove(hash, row);
  }
}

function hashOf(number: number): number {
  return mix(number % 2 ** 32, number / 2 ** 32);
}
