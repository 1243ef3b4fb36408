import { frameBytesCeiling, frameBytesDefault, windowBytesCeiling } from "./frame.ts";

/** What one server allows. All of it is enforced before memory is taken for what exceeds it. */
export interface Http2Limits {
  /** Open connections of the server; further ones are closed at once. */
  readonly connectionsMax: number;
  /** Open connections of one remote address. */
  readonly connectionsPerPeerMax: number;
  /** Milliseconds a client has for the TLS handshake, and again for the connection preface with its SETTINGS. */
  readonly handshakeMsMax: number;
  /** Calls that may be open at once on a connection (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly streamsMax: number;
  /** Bytes of one header list, counted with 32 on top per field (SETTINGS_MAX_HEADER_LIST_SIZE). */
  readonly headerListBytesMax: number;
  /** Fields of one header list. */
  readonly headerFieldsMax: number;
  /** CONTINUATION frames of one header block. */
  readonly continuationsMax: number;
  /** Payload of one frame (SETTINGS_MAX_FRAME_SIZE). */
  readonly frameBytesMax: number;
  /** Receive window of a stream and of a connection, bytes. What arrives is used or refused at once. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Bytes of announced but incomplete request messages, of the whole server and of one connection. */
  readonly inflightBytesMax: number;
  readonly inflightBytesPerConnectionMax: number;
  /** Bytes of responses that wait for a client's window, per call. A longer queue ends the call. */
  readonly queuedBytesPerCallMax: number;
  /** Calls per second on one connection; further ones are answered RESOURCE_EXHAUSTED unread. */
  readonly requestsPerSecondMax: number;
  /** More resets than half of the calls of a second, of at least so many calls, end the connection. */
  readonly rapidResetCallsMin: number;
  /** Frames per second that cost work and carry nothing; more end the connection. */
  readonly pingsPerSecondMax: number;
  readonly settingsPerSecondMax: number;
  readonly emptyDataPerSecondMax: number;
  readonly prioritiesPerSecondMax: number;
  readonly windowUpdatesPerSecondMax: number;
  /** Stream errors caused by the client, and calls refused over `streamsMax`, per second; more end the connection. */
  readonly streamErrorsPerSecondMax: number;
  readonly refusedCallsPerSecondMax: number;
  /** A connection silent for so long is asked (PING), and destroyed when it does not answer in time. */
  readonly silenceMsMax: number;
  readonly pingAnswerMsMax: number;
  /** A client that takes none of the bytes written for so long is gone. */
  readonly writeStallMsMax: number;
  /** Milliseconds for the first byte of a request message, counted from the headers, and for all of it. */
  readonly firstByteMsMax: number;
  readonly messageMsMax: number;
  /** A connection that was told it broke the protocol is destroyed after so long. */
  readonly lingerMsMax: number;
}

export const defaultHttp2Limits: Http2Limits = {
  connectionsMax: 1024,
  connectionsPerPeerMax: 256,
  handshakeMsMax: 5000,
  streamsMax: 100,
  headerListBytesMax: 16 * 1024,
  headerFieldsMax: 64,
  continuationsMax: 16,
  frameBytesMax: frameBytesDefault,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  inflightBytesMax: 64 * 1024 * 1024,
  inflightBytesPerConnectionMax: 8 * 1024 * 1024,
  queuedBytesPerCallMax: 8 * 1024 * 1024,
  requestsPerSecondMax: 20_000,
  rapidResetCallsMin: 500,
  pingsPerSecondMax: 10_000,
  settingsPerSecondMax: 100,
  emptyDataPerSecondMax: 1000,
  prioritiesPerSecondMax: 1000,
  windowUpdatesPerSecondMax: 100_000,
  streamErrorsPerSecondMax: 50,
  refusedCallsPerSecondMax: 1000,
  silenceMsMax: 30_000,
  pingAnswerMsMax: 5000,
  writeStallMsMax: 35_000,
  firstByteMsMax: 5000,
  messageMsMax: 15_000,
  lingerMsMax: 1000,
};

/** Fills `partial` up with the defaults. Throws a RangeError naming the first value that cannot work. */
export function completeLimits(partial: Partial<Http2Limits> = {}): Http2Limits {
  const limits = { ...defaultHttp2Limits, ...partial };
  // Whoever makes the whole smaller means its parts too.
  if (partial.inflightBytesPerConnectionMax === undefined) {
    limits.inflightBytesPerConnectionMax = Math.min(limits.inflightBytesPerConnectionMax, limits.inflightBytesMax);
  }
  for (const [name, value] of Object.entries(limits)) {
    demand(Number.isInteger(value) && value > 0, `${name} is ${value}; it must be a whole number above 0`);
  }
  demand(
    limits.frameBytesMax >= frameBytesDefault && limits.frameBytesMax <= frameBytesCeiling,
    `frameBytesMax is ${limits.frameBytesMax}; RFC 9113 allows ${frameBytesDefault} to ${frameBytesCeiling}`,
  );
  demand(
    limits.streamWindowBytes <= windowBytesCeiling && limits.connectionWindowBytes <= windowBytesCeiling,
    `a window is above ${windowBytesCeiling}, the most RFC 9113 allows`,
  );
  demand(
    limits.streamWindowBytes <= limits.connectionWindowBytes,
    "streamWindowBytes exceeds connectionWindowBytes: one call could never use its window",
  );
  demand(limits.firstByteMsMax <= limits.messageMsMax, "firstByteMsMax exceeds messageMsMax");
  demand(
    limits.inflightBytesPerConnectionMax <= limits.inflightBytesMax,
    "inflightBytesPerConnectionMax exceeds inflightBytesMax",
  );
  return Object.freeze(limits);
}

function demand(holds: boolean, message: string): void {
  if (!holds) throw new RangeError(`HTTP/2 limits: ${message}`);
}

/** Things counted per second and connection. */
export const Counted = {
  Request: 0,
  Reset: 1,
  Ping: 2,
  Settings: 3,
  EmptyData: 4,
  Priority: 5,
  WindowUpdate: 6,
  StreamError: 7,
  RefusedCall: 8,
} as const;
export type Counted = (typeof Counted)[keyof typeof Counted];

/** Counts what one connection does in the current second. */
export class SecondCounter {
  readonly #counts = new Int32Array(9);
  #secondEndsMs = 0;

  /** Starts a new second when the old one is over. Called once per read. */
  advance(nowMs: number): void {
    if (nowMs < this.#secondEndsMs) return;
    this.#secondEndsMs = nowMs + 1000;
    this.#counts.fill(0);
  }

  /** Counts one and returns how many it were in this second. */
  add(what: Counted): number {
    return ++this.#counts[what]!;
  }

  count(what: Counted): number {
    return this.#counts[what]!;
  }
}

/** Bytes of incomplete messages of a whole server. */
export class ByteBudget {
  readonly #bytesMax: number;
  #used = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get used(): number {
    return this.#used;
  }

  /** False when it does not fit: nothing was taken. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.#bytesMax) return false;
    this.#used += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#used -= bytes;
  }
}
