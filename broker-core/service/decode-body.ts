import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";

/** Decodes the body of a rare frame by the general codec; its complaints become BAD_REQUEST. */
export function decodeBody<T>(
  what: string,
  decode: (bytes: Uint8Array) => T,
  bytes: Buffer,
  start: number,
  end: number,
): T {
  try {
    return decode(bytes.subarray(start, end));
  } catch (error) {
    throw new MeshError(Code.BadRequest, `the body is no ${what}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}
