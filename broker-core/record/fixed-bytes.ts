/**
 * The building blocks of record bodies: fixed positions, little-endian. Whole numbers up to 2^53 are stored as two halves;
 * times are doubles (milliseconds, fractions kept); texts carry their length in one byte.
 *
 * A reader of a record is a set of module variables set by `decode...`: nothing is allocated per record in replay.
 */

const two32 = 0x1_0000_0000;

/** Longest text in a record, in bytes. */
export const textBytesMax = 255;

export function writeUint53(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % two32, at);
  into.writeUInt32LE(Math.floor(value / two32), at + 4);
}

export function readUint53(from: Buffer, at: number): number {
  return from.readUInt32LE(at) + from.readUInt32LE(at + 4) * two32;
}

/** Bytes that `writeShortText` takes for a text: its length, and one for the length itself. */
export function shortTextBytes(text: string): number {
  return 1 + Math.min(Buffer.byteLength(text), textBytesMax);
}

/** Writes a text and returns the offset behind it. What exceeds `textBytesMax` is cut: see `cutText`. */
export function writeShortText(into: Buffer, at: number, text: string): number {
  const room = Math.min(Buffer.byteLength(text), textBytesMax);
  const written = into.write(text, at + 1, room, "utf8");
  // A character that did not fit leaves up to three bytes over: they were counted, so they are filled.
  into.fill(0x20, at + 1 + written, at + 1 + room);
  into[at] = room;
  return at + 1 + room;
}

/** The longest beginning of a text that a record holds whole. For texts that are compared with what a record says. */
export function cutText(text: string): string {
  // No character of a string takes more than three bytes per unit.
  if (text.length * 3 <= textBytesMax || Buffer.byteLength(text) <= textBytesMax) return text;
  const bytes = Buffer.alloc(textBytesMax);
  return bytes.toString("utf8", 0, bytes.write(text));
}

export function readShortText(from: Buffer, at: number): string {
  const length = from[at] ?? 0;
  return length === 0 ? "" : from.toString("utf8", at + 1, at + 1 + length);
}

/** Offset behind the text that begins at `at`. */
export function shortTextEnd(from: Buffer, at: number): number {
  return at + 1 + (from[at] ?? 0);
}
