import { MeshError } from "../../proto/runtime/mesh-error.ts";

/** One of the readers of `proto/codec` that are used again for each call. */
interface RequestReader {
  read(bytes: Buffer, start: number, end: number): void;
}

/** Reads a request. Returns why its bytes are none, "" where they are one; then the reader holds it until the next call. */
export function readRequest(reader: RequestReader, bytes: Buffer, start: number, end: number): string {
  try {
    reader.read(bytes, start, end);
    return "";
  } catch (error) {
    if (error instanceof MeshError) return error.message;
    throw error;
  }
}

/** Decodes a request of the rarer kinds. Returns the request, or why its bytes are none. */
export function decodeRequest<Request>(
  codec: { decode(bytes: Buffer, start: number, end: number): Request },
  bytes: Buffer,
  start: number,
  end: number,
): Request | MeshError {
  try {
    return codec.decode(bytes, start, end);
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
}
