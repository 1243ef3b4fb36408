import type { HeaderField } from "./header-field.ts";
import { entryOverheadBytes } from "./hpack-static-table.ts";

/** The dynamic table of a decoder (RFC 7541 §2.3.2): a ring, newest entry first, bounded in bytes. */
export class HpackDynamicTable {
  readonly #ring: (HeaderField | undefined)[];
  readonly #mask: number;
  #newest = 0;
  #count = 0;
  #bytes = 0;
  #bytesMax: number;

  /** `bytesCeiling`: the SETTINGS_HEADER_TABLE_SIZE this side announced. */
  constructor(bytesCeiling: number) {
    let slots = 1;
    while (slots < bytesCeiling / entryOverheadBytes) slots *= 2;
    this.#ring = new Array(slots).fill(undefined);
    this.#mask = slots - 1;
    this.#bytesMax = bytesCeiling;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes in use as RFC 7541 §4.1 counts them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Entry `index` counted from the newest (0), or undefined beyond the oldest. */
  at(index: number): HeaderField | undefined {
    return index < this.#count ? this.#ring[(this.#newest - index) & this.#mask] : undefined;
  }

  /** Makes `field` the newest entry and drops the oldest ones that no longer fit; one too large empties the table. */
  add(field: HeaderField): void {
    const bytes = field.tableBytes;
    this.#evictTo(this.#bytesMax - bytes);
    if (bytes > this.#bytesMax) return;
    this.#newest = (this.#newest + 1) & this.#mask;
    this.#ring[this.#newest] = field;
    this.#count++;
    this.#bytes += bytes;
  }

  /** A dynamic table size update of the peer (RFC 7541 §6.3). */
  resize(bytesMax: number): void {
    this.#bytesMax = bytesMax;
    this.#evictTo(bytesMax);
  }

  #evictTo(bytes: number): void {
    while (this.#count > 0 && this.#bytes > bytes) {
      const oldest = (this.#newest - this.#count + 1) & this.#mask;
      this.#bytes -= this.#ring[oldest]!.tableBytes;
      this.#ring[oldest] = undefined;
      this.#count--;
    }
  }
}
