const pageShift = 12;
const pageIds = 1 << pageShift;

const markBit = 0x8000_0000;
const rowBits = 0x7fff_ffff;

/**
 * Rows by id (from 1), where ids rise and are never used again: pages of 4 096 ids, 4 bytes each, given back when all ids of a page
 * are gone. An id can be marked.
 */
export class IdRows {
  readonly #pages: (Uint32Array | undefined)[] = [];
  readonly #counts: number[] = [];

  /** -1 when the id has none. */
  get(id: number): number {
    const page = this.#pages[id >>> pageShift];
    return page === undefined || id === 0 ? -1 : (page[id & (pageIds - 1)]! & rowBits) - 1;
  }

  /** False also for an id that has no row. */
  isMarked(id: number): boolean {
    return (this.#pages[id >>> pageShift]?.[id & (pageIds - 1)] ?? 0) >= markBit;
  }

  /** `id` has a row. Its mark goes with that. */
  mark(id: number, isMarked: boolean): void {
    const page = this.#pages[id >>> pageShift]!;
    const at = id & (pageIds - 1);
    page[at] = isMarked ? page[at]! | markBit : page[at]! & rowBits;
  }

  /** `id` has none yet. */
  set(id: number, row: number): void {
    const number = id >>> pageShift;
    let page = this.#pages[number];
    if (page === undefined) {
      page = new Uint32Array(pageIds);
      // No holes: an array with holes is a dictionary.
      while (this.#pages.length < number) this.#pages.push(undefined);
      this.#pages[number] = page;
    }
    page[id & (pageIds - 1)] = row + 1;
    this.#counts[number] = (this.#counts[number] ?? 0) + 1;
  }

  remove(id: number): void {
    const number = id >>> pageShift;
    this.#pages[number]![id & (pageIds - 1)] = 0;
    if (--this.#counts[number]! === 0) this.#pages[number] = undefined;
  }
}
