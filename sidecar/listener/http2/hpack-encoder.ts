import { entryOverheadBytes, staticTable } from "./hpack-static-table.ts";
import { huffmanEncode, huffmanEncodedBytes } from "./huffman.ts";

/** The size of the peer's table before it says otherwise, and the most of it this encoder uses. */
const tableBytesDefault = 4096;

const staticIndexByName = new Map<string, number>();
const staticIndexByField = new Map<string, number>();
staticTable.forEach(([name, value], i) => {
  if (!staticIndexByName.has(name)) staticIndexByName.set(name, i + 1);
  staticIndexByField.set(`${name}\0${value}`, i + 1);
});

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly bytes: number;
}

/**
 * Encodes the header blocks of one connection (RFC 7541). A server repeats a handful of fields, so the table is a short
 * list searched in order; what differs from call to call is written as a literal with an indexed name.
 */
export class HpackEncoder {
  /** Newest first. */
  #entries: Entry[] = [];
  #bytes = 0;
  #bytesMax = tableBytesDefault;
  /** Smallest size the peer announced since the last block; undefined when it announced none. */
  #smallestPending: number | undefined;

  /** Counts the changes of the table: an encoded block may be sent again as it is while the number stays the same. */
  version = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setTableBytes(announced: number): void {
    const bytes = Math.min(announced, tableBytesDefault);
    if (bytes === this.#bytesMax && this.#smallestPending === undefined) return;
    this.#smallestPending = Math.min(bytes, this.#smallestPending ?? bytes);
    this.#bytesMax = bytes;
    this.#evictTo(this.#smallestPending);
    this.version++;
  }

  /** Starts a block at `at` and returns where its first field goes: announces changes of the table (RFC 7541 §4.2). */
  begin(into: Buffer, at: number): number {
    const smallest = this.#smallestPending;
    if (smallest === undefined) return at;
    this.#smallestPending = undefined;
    this.version++;
    let to = at;
    if (smallest < this.#bytesMax) to = writeInteger(into, to, 0x20, 5, smallest);
    return writeInteger(into, to, 0x20, 5, this.#bytesMax);
  }

  /** Writes a field and returns the position behind it. `isRepeated`: worth an entry in the peer's table. */
  field(into: Buffer, at: number, name: string, value: string, isRepeated = false): number {
    const index = staticIndexByField.get(`${name}\0${value}`) ?? this.#find(name, value);
    if (index !== undefined) return writeInteger(into, at, 0x80, 7, index);
    const bytes = name.length + value.length + entryOverheadBytes;
    const isAdded = isRepeated && bytes <= this.#bytesMax;
    const nameIndex = staticIndexByName.get(name) ?? this.#findName(name) ?? 0;
    let to = isAdded ? writeInteger(into, at, 0x40, 6, nameIndex) : writeInteger(into, at, 0x00, 4, nameIndex);
    if (nameIndex === 0) to = writeString(into, to, name);
    to = writeString(into, to, value);
    if (isAdded) {
      this.#evictTo(this.#bytesMax - bytes);
      this.#entries.unshift({ name, value, bytes });
      this.#bytes += bytes;
      this.version++;
    }
    return to;
  }

  #find(name: string, value: string): number | undefined {
    const i = this.#entries.findIndex((entry) => entry.name === name && entry.value === value);
    return i < 0 ? undefined : staticTable.length + 1 + i;
  }

  #findName(name: string): number | undefined {
    const i = this.#entries.findIndex((entry) => entry.name === name);
    return i < 0 ? undefined : staticTable.length + 1 + i;
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes) this.#bytes -= this.#entries.pop()!.bytes;
  }
}

/** Writes an integer behind the pattern of its field (RFC 7541 §5.1) and returns the position behind it. */
export function writeInteger(into: Buffer, at: number, pattern: number, prefixBits: number, value: number): number {
  const mask = (1 << prefixBits) - 1;
  let to = at;
  if (value < mask) {
    into[to++] = pattern | value;
    return to;
  }
  into[to++] = pattern | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) into[to++] = (rest % 0x80) | 0x80;
  into[to++] = rest;
  return to;
}

/** Writes a string literal of characters 0..255, Huffman-coded when that is shorter. */
export function writeString(into: Buffer, at: number, text: string): number {
  const huffmanBytes = huffmanEncodedBytes(text);
  if (huffmanBytes < text.length) return huffmanEncode(text, into, writeInteger(into, at, 0x80, 7, huffmanBytes));
  const to = writeInteger(into, at, 0, 7, text.length);
  return to + into.write(text, to, "latin1");
}
