import { HeaderField, HeaderName, staticFields } from "./header-field.ts";
import { HpackDynamicTable } from "./hpack-dynamic-table.ts";
import { huffmanDecode, huffmanDecodedBytesMax } from "./huffman.ts";

/** Values live in chunks of this size, so that a header costs no buffer of its own. */
const chunkBytes = 4096;

/** Integers on the wire beyond this are nonsense: no length, index or size of ours comes near it. */
const integerMax = 2 ** 28;

/** Memory for values; filled from front to end and then left to the fields that refer to it. */
class ValueArena {
  #chunk: Buffer | undefined;
  #at = 0;

  /** A buffer with room for `bytes` from `position` on. */
  reserve(bytes: number): Buffer {
    if (bytes > chunkBytes) {
      this.position = 0;
      return Buffer.allocUnsafeSlow(bytes);
    }
    if (this.#chunk === undefined || this.#at + bytes > chunkBytes) {
      this.#chunk = Buffer.allocUnsafeSlow(chunkBytes);
      this.#at = 0;
    }
    this.position = this.#at;
    return this.#chunk;
  }

  /** Where the last reservation begins. */
  position = 0;

  /** Keeps what was written up to `end` of the last reservation. */
  keep(chunk: Buffer, end: number): void {
    if (chunk === this.#chunk) this.#at = end;
  }
}

/** Decodes the header blocks of one connection (RFC 7541). After a failure the connection cannot go on. */
export class HpackDecoder {
  readonly #table: HpackDynamicTable;
  readonly #tableBytesCeiling: number;
  readonly #listBytesMax: number;
  readonly #fieldsMax: number;
  // Fields of the table live for long, the others for one call: in chunks of their own, an attacker cannot make a
  // small table entry hold a large chunk of foreign bytes for ever.
  readonly #tableArena = new ValueArena();
  readonly #callArena = new ValueArena();
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #valid = true;

  /** Fields of the last block. */
  readonly fields: HeaderField[] = [];
  /** The last block had more fields or bytes than allowed; `fields` is then incomplete. */
  isOverLimit = false;

  /** `tableBytes`: the table size announced to the peer; `listBytesMax` and `fieldsMax` bound one header list. */
  constructor(tableBytes: number, listBytesMax: number, fieldsMax: number) {
    this.#table = new HpackDynamicTable(tableBytes);
    this.#tableBytesCeiling = tableBytes;
    this.#listBytesMax = listBytesMax;
    this.#fieldsMax = fieldsMax;
  }

  get tableBytes(): number {
    return this.#table.bytes;
  }

  /** Decodes one whole block into `fields`. False: it is no valid HPACK (COMPRESSION_ERROR). */
  decode(block: Buffer, start: number, end: number): boolean {
    this.#block = block;
    this.#at = start;
    this.#end = end;
    this.#valid = true;
    this.fields.length = 0;
    this.isOverLimit = false;
    let listBytes = 0;
    let mayResize = true;
    while (this.#at < this.#end) {
      const first = block[this.#at]!;
      let field: HeaderField | undefined;
      if (first >= 0x80) {
        field = this.#entry(this.#integer(7));
      } else if (first >= 0x40) {
        field = this.#literal(6, this.#tableArena);
        if (field !== undefined) this.#table.add(field);
      } else if (first >= 0x20) {
        const bytes = this.#integer(5);
        if (!mayResize || bytes > this.#tableBytesCeiling || !this.#valid) return false;
        this.#table.resize(bytes);
        continue;
      } else {
        field = this.#literal(4, this.#callArena);
      }
      if (field === undefined || !this.#valid) return false;
      mayResize = false;
      listBytes += field.tableBytes;
      if (listBytes > this.#listBytesMax || this.fields.length >= this.#fieldsMax) this.isOverLimit = true;
      else this.fields.push(field);
    }
    return true;
  }

  #entry(index: number): HeaderField | undefined {
    if (index === 0) return undefined;
    return index <= staticFields.length ? staticFields[index - 1] : this.#table.at(index - staticFields.length - 1);
  }

  #literal(prefixBits: number, arena: ValueArena): HeaderField | undefined {
    const index = this.#integer(prefixBits);
    let name: HeaderName | undefined;
    if (index !== 0) {
      name = this.#entry(index)?.name;
    } else {
      const chunk = this.#string(this.#callArena);
      if (chunk !== undefined) name = new HeaderName(chunk.toString("latin1", this.#stringStart, this.#stringEnd));
    }
    if (name === undefined) return undefined;
    const bytes = this.#string(arena);
    return bytes === undefined ? undefined : new HeaderField(name, bytes, this.#stringStart, this.#stringEnd);
  }

  #stringStart = 0;
  #stringEnd = 0;

  /** Reads a string literal into `arena`; it is then at `#stringStart..#stringEnd` of the buffer returned. */
  #string(arena: ValueArena): Buffer | undefined {
    if (this.#at >= this.#end) return undefined;
    const isHuffman = this.#block[this.#at]! >= 0x80;
    const length = this.#integer(7);
    const from = this.#at;
    const to = from + length;
    if (!this.#valid || to > this.#end) return undefined;
    this.#at = to;
    const chunk = arena.reserve(isHuffman ? huffmanDecodedBytesMax(length) : length);
    const start = arena.position;
    let end = start;
    if (isHuffman) {
      end = huffmanDecode(this.#block, from, to, chunk, start);
      if (end < 0) return undefined;
    } else if (length < 64) {
      for (let i = from; i < to; i++) chunk[end++] = this.#block[i]!;
    } else {
      end += this.#block.copy(chunk, start, from, to);
    }
    arena.keep(chunk, end);
    this.#stringStart = start;
    this.#stringEnd = end;
    return chunk;
  }

  /** An integer with a prefix of `bits` (RFC 7541 §5.1). Sets `#valid` to false when it is cut off or too large. */
  #integer(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#block[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= this.#end) break;
      const byte = this.#block[this.#at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (value > integerMax) break;
      if (byte < 0x80) return value;
    }
    this.#valid = false;
    return 0;
  }
}
