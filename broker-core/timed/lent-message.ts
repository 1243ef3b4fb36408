/** One message on its way from an old record into a new one: the log lends its bytes only until it is called again. */
export class LentMessage {
  #bytes: Buffer = Buffer.alloc(0);

  /** A copy of `body` from `start` on, valid until the next call. */
  take(body: Buffer, start: number): Uint8Array {
    const length = body.length - start;
    if (length > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(2 * length);
    body.copy(this.#bytes, 0, start);
    return this.#bytes.subarray(0, length);
  }
}
