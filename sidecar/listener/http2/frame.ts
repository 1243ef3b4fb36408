/** Numbers of RFC 9113: frame types, flags, error codes and settings, and the writing of frame headers. */

/** What a client sends first (RFC 9113 §3.4). */
export const connectionPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Bytes of every frame header: length (3), type (1), flags (1), stream (4). */
export const frameHeaderBytes = 9;

/** Largest payload either side may send before the other one allows more (SETTINGS_MAX_FRAME_SIZE). */
export const frameBytesDefault = 16_384;

/** Largest value that SETTINGS_MAX_FRAME_SIZE can take. */
export const frameBytesCeiling = 16_777_215;

/** Flow-control window of a stream and of the connection before anything is said. */
export const windowBytesDefault = 65_535;

/** Largest flow-control window. */
export const windowBytesCeiling = 0x7fff_ffff;

export const FrameType = {
  Data: 0,
  Headers: 1,
  Priority: 2,
  RstStream: 3,
  Settings: 4,
  PushPromise: 5,
  Ping: 6,
  GoAway: 7,
  WindowUpdate: 8,
  Continuation: 9,
} as const;

export const FrameFlag = {
  /** DATA, HEADERS: the sender's last frame on this stream. */
  EndStream: 0x1,
  /** SETTINGS, PING: this is the answer. */
  Ack: 0x1,
  /** HEADERS, CONTINUATION: the header block is complete. */
  EndHeaders: 0x4,
  /** DATA, HEADERS: a length byte in front, padding behind. */
  Padded: 0x8,
  /** HEADERS: five bytes of priority in front. */
  Priority: 0x20,
} as const;

export const Http2Error = {
  NoError: 0,
  ProtocolError: 1,
  InternalError: 2,
  FlowControlError: 3,
  SettingsTimeout: 4,
  StreamClosed: 5,
  FrameSizeError: 6,
  RefusedStream: 7,
  Cancel: 8,
  CompressionError: 9,
  ConnectError: 10,
  EnhanceYourCalm: 11,
  InadequateSecurity: 12,
  Http11Required: 13,
} as const;
export type Http2Error = (typeof Http2Error)[keyof typeof Http2Error];

export const Setting = {
  HeaderTableSize: 1,
  EnablePush: 2,
  MaxConcurrentStreams: 3,
  InitialWindowSize: 4,
  MaxFrameSize: 5,
  MaxHeaderListSize: 6,
} as const;

/** Writes a frame header at `at` and returns the position behind it. */
export function writeFrameHeader(
  into: Buffer,
  at: number,
  payloadBytes: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  into[at] = payloadBytes >>> 16;
  into[at + 1] = payloadBytes >>> 8;
  into[at + 2] = payloadBytes;
  into[at + 3] = type;
  into[at + 4] = flags;
  return writeUint32(into, at + 5, streamId);
}

/** Writes four bytes, big-endian, and returns the position behind them. */
export function writeUint32(into: Buffer, at: number, value: number): number {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
  return at + 4;
}

/** Reads four bytes, big-endian, 0 to 2^32-1. */
export function readUint32(bytes: Buffer, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Reads a 31-bit stream id, dependency or increment; the reserved top bit is ignored as the RFC asks. */
export function readUint31(bytes: Buffer, at: number): number {
  return ((bytes[at]! & 0x7f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
