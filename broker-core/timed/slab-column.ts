/** Rows of one slab: 64 Ki, so growth allocates half a megabyte and never copies what is there. */
const slabShift = 16;
const slabRows = 1 << slabShift;
const rowMask = slabRows - 1;

type NumberArray = Float64Array | Uint32Array | Uint16Array;

/** One column of a table that grows to tens of millions of rows: an array in slabs. */
export class SlabColumn<T extends NumberArray> {
  readonly #makeSlab: (rows: number) => T;
  readonly #slabs: T[] = [];

  constructor(makeSlab: (rows: number) => T) {
    this.#makeSlab = makeSlab;
  }

  /** Makes room for rows up to and including `row`. */
  reach(row: number): void {
    while (row >>> slabShift >= this.#slabs.length) this.#slabs.push(this.#makeSlab(slabRows));
  }

  get(row: number): number {
    return this.#slabs[row >>> slabShift]![row & rowMask]!;
  }

  set(row: number, value: number): void {
    this.#slabs[row >>> slabShift]![row & rowMask] = value;
  }
}

export const f64Column = (): SlabColumn<Float64Array> => new SlabColumn((rows) => new Float64Array(rows));
export const u32Column = (): SlabColumn<Uint32Array> => new SlabColumn((rows) => new Uint32Array(rows));
export const u16Column = (): SlabColumn<Uint16Array> => new SlabColumn((rows) => new Uint16Array(rows));
