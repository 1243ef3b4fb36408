/**
 * Bodies of the hot frames (proto/popmesh/v1/frame.proto), read and written in place on both ends of the sidecar↔broker
 * connection. The rare frames (Hello, Welcome, Window, Open…, Failure) go through `#codec/popmesh-v1`.
 *
 * Reading: one reader object per kind is kept for the life of a connection and filled by `read(bytes, start, end)`. What
 * is told as a range (`…Start`, `…End`) lies in those bytes and is valid as long as they are; strings and numbers are
 * the caller's to keep. `read` throws a `MeshError` (BAD_REQUEST) on bytes that are no such message and leaves the reader
 * undefined. It checks the structure of the whole body, so the cursors of repeated parts (`nextMessage`, `next…`) never throw.
 *
 * Writing: `…BytesMax` says how much room a body takes at most, `write…` writes it and returns the offset behind it. The
 * parts of a repeated field are written one after the other: a body is the concatenation of what its writers wrote.
 */
export * from "./frame-ack-body.ts";
export * from "./frame-change-body.ts";
export * from "./frame-receive-body.ts";
export * from "./frame-send-body.ts";
