/** A record whose bytes cannot be what this version writes. The log is whole (its checksums hold), so this is a bug or a
 * foreign version: start-up ends with it, and nothing is reset. */
export class RecordFault extends Error {
  override readonly name = "RecordFault";
}

/** Asserts that a record body has at least the bytes of its fixed part. */
export function expectBytes(what: string, start: number, end: number, fixedBytes: number): void {
  if (end - start < fixedBytes) {
    throw new RecordFault(`${what} record of ${end - start} bytes, but its fixed part alone has ${fixedBytes}`);
  }
}
