/** Bytes in front of every gRPC message: a flag (compressed) and the length. */
export const messagePrefixBytes = 5;

/**
 * One request message whose bytes come in pieces, or whose call is not half-closed yet. Memory for the message is taken
 * when its length is known and was admitted; before that there are only the five bytes of its prefix.
 */
export class MessageAssembly {
  readonly #prefix = Buffer.allocUnsafe(messagePrefixBytes);
  #prefixBytes = 0;
  #body: Buffer | undefined;
  #bodyBytes = 0;

  /** True when the prefix is complete and the message's memory is not yet taken. */
  get needsBody(): boolean {
    return this.#prefixBytes === messagePrefixBytes && this.#body === undefined;
  }

  get isComplete(): boolean {
    return this.#body !== undefined && this.#bodyBytes === this.#body.length;
  }

  /** The compressed flag; valid when the prefix is complete. */
  get flag(): number {
    return this.#prefix[0]!;
  }

  /** Announced bytes of the message; valid when the prefix is complete. */
  get length(): number {
    return this.#prefix.readUInt32BE(1);
  }

  /** The message; valid when complete. */
  get body(): Buffer {
    return this.#body!;
  }

  /** Bytes admitted for this message so far. */
  get admittedBytes(): number {
    return this.#body?.length ?? 0;
  }

  admit(): void {
    this.#body = Buffer.allocUnsafe(this.length);
  }

  /** Takes what it can use of `bytes[start, end)` and answers the position behind it. */
  take(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (this.#prefixBytes < messagePrefixBytes && at < end) this.#prefix[this.#prefixBytes++] = bytes[at++]!;
    if (this.#body === undefined) return at;
    const wanted = Math.min(end - at, this.#body.length - this.#bodyBytes);
    bytes.copy(this.#body, this.#bodyBytes, at, at + wanted);
    this.#bodyBytes += wanted;
    return at + wanted;
  }
}
