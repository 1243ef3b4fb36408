import type { Code } from "../code.ts";

/**
 * A failure expected in operation. `code` is what the caller is answered (a code of the v2 API); `message` says what
 * happened, where, and what to do next; `cause` keeps the error underneath.
 */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
