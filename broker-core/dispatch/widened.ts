type Column = Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array;

/** A longer copy of a column (of at least `count` rows), zeros behind what it holds. Memory is taken when it is written to. */
export function widened<T extends Column>(from: T, count: number): T {
  if (from.length >= count) return from;
  const to = new (from.constructor as new (length: number) => T)(count);
  to.set(from);
  return to;
}
