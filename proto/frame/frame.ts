/**
 * The frame of the sidecar↔broker connection (docs/frame-protocol.md). All numbers big-endian:
 *
 *     u32 length       bytes that follow this field: 8 + body
 *     u8  kind         see FrameKind; an answer has the request's kind with bit 7 set
 *     u8  flags        0; unknown bits are ignored
 *     u16 status       of an answer: a code of the v2 API; of a request: 0
 *     u32 correlation  chosen by the requester, unique among its open requests; 0 where nothing is answered
 *     ... body         protobuf, proto/popmesh/v1/frame.proto
 */
export const frameHeaderBytes = 12;

/** A frame may carry one message of 4 MiB with its properties many times over: 32 messages of a batch do not fit, the
 * sender of an answer stops at `bytesMax`. Larger lengths are an attack or a bug and end the connection. */
export const frameBytesMax = 16 * 1024 * 1024;

/** Versions of the conversation that this code speaks. */
export const frameVersionMin = 1;
export const frameVersionMax = 1;

export const FrameKind = {
  Hello: 1,
  Ping: 2,
  Cancel: 3,
  /** Broker to sidecar: no new requests here, finish what is open, connect anew. */
  GoAway: 4,
  /** Broker to sidecar: new windows. */
  Window: 5,
  OpenTopic: 16,
  OpenGroup: 17,
  Send: 18,
  Receive: 19,
  Ack: 20,
  Change: 21,
  EndTransaction: 22,
  /** Takes back a message that waits for its time. */
  Recall: 23,
  /** Moves held messages to the dead-letter queue. Bodies as of an Ack. */
  DeadLetter: 24,
  /** The sidecar says for which topics it has live producers; not answered. */
  Producers: 28,
  /** Broker to sidecar: asks a producer about an open transaction; not answered. */
  CheckBack: 29,
  /** Reads a queue by offset. */
  Pull: 25,
  /** Says to which lite topics a client subscribes. */
  LiteSync: 27,
  /** Looks an offset up, or sets a group's. */
  Offset: 26,
  /** An operator's question or order: a method by name, arguments and result as JSON. */
  Operate: 30,
  /** The sidecar says which consumers are there in its lane; not answered, and said only to peers with the feature. */
  LanePresence: 31,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** What a broker names in its Welcome where it takes more than its version says. */
export const Feature = { LanePresence: "lane-presence" } as const;

/** Bit 7 of the kind marks an answer. */
export const answerBit = 0x80;
