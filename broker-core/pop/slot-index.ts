/**
 * An open-addressing hash index from a 32-bit hash to slots of some struct of arrays. It keeps no keys: whoever looks up
 * compares the candidates with its own arrays. 8 bytes per place, at most three quarters full, linear probing, and removal
 * by shifting back, so no tombstones gather.
 *
 *     for (let i = index.first(hash); i >= 0; i = index.next(i, hash)) { const slot = index.slotAt(i); ... }
 */
export class SlotIndex {
  /** Slot + 1; 0: free. */
  #slots: Uint32Array;
  #hashes: Uint32Array;
  #count = 0;

  /** With room for `count` slots before it grows. */
  constructor(count = 48) {
    const places = Math.max(64, 2 ** Math.ceil(Math.log2((count * 4) / 3 + 1)));
    this.#slots = new Uint32Array(places);
    this.#hashes = new Uint32Array(places);
  }

  /** Place of the first slot stored under `hash`; -1 when there is none. */
  first(hash: number): number {
    return this.#find(hash & (this.#slots.length - 1), hash);
  }

  /** Place of the next slot under the same hash. */
  next(place: number, hash: number): number {
    return this.#find((place + 1) & (this.#slots.length - 1), hash);
  }

  slotAt(place: number): number {
    return this.#slots[place]! - 1;
  }

  insert(hash: number, slot: number): void {
    if ((this.#count + 1) * 4 > this.#slots.length * 3) this.#grow();
    this.#place(hash, slot + 1);
    this.#count++;
  }

  /** Puts another slot in the place of one that is stored under `hash`. */
  replace(hash: number, slot: number, by: number): void {
    this.#slots[this.#placeOf(hash, slot)] = by + 1;
  }

  remove(hash: number, slot: number): void {
    const mask = this.#slots.length - 1;
    let hole = this.#placeOf(hash, slot);
    for (let at = (hole + 1) & mask; this.#slots[at] !== 0; at = (at + 1) & mask) {
      // An entry may move back into the hole unless that would put it before its own home place.
      const home = this.#hashes[at]! & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.#slots[hole] = this.#slots[at]!;
      this.#hashes[hole] = this.#hashes[at]!;
      hole = at;
    }
    this.#slots[hole] = 0;
    this.#count--;
  }

  #find(from: number, hash: number): number {
    const mask = this.#slots.length - 1;
    const wanted = hash >>> 0;
    for (let at = from; this.#slots[at] !== 0; at = (at + 1) & mask) {
      if (this.#hashes[at] === wanted) return at;
    }
    return -1;
  }

  #placeOf(hash: number, slot: number): number {
    let at = this.first(hash);
    while (at >= 0 && this.#slots[at] !== slot + 1) at = this.next(at, hash);
    if (at < 0) throw new Error(`slot ${slot} is not in the index`);
    return at;
  }

  #place(hash: number, value: number): void {
    const mask = this.#slots.length - 1;
    let at = hash & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = value;
    this.#hashes[at] = hash;
  }

  #grow(): void {
    const slots = this.#slots;
    const hashes = this.#hashes;
    this.#slots = new Uint32Array(slots.length * 2);
    this.#hashes = new Uint32Array(slots.length * 2);
    for (let i = 0; i < slots.length; i++) {
      if (slots[i] !== 0) this.#place(hashes[i]!, slots[i]!);
    }
  }
}

/** Mixes two 32-bit values well enough for a table whose size is a power of two. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ b;
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}
