import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Connection } from "./connection.ts";

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

/** The same of a frame that is not answered: one that cannot be read ends the connection. Undefined then. */
export function decodeUnanswered<T>(
  connection: Connection,
  what: string,
  decode: (bytes: Uint8Array) => T,
  bytes: Buffer,
  start: number,
  end: number,
): T | undefined {
  try {
    return decodeBody(what, decode, bytes, start, end);
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    connection.frames.destroy(error.message);
    return undefined;
  }
}
