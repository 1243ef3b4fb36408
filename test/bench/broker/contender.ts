import type { RunningProcess } from "../../support/running-process.ts";

/** What a system is asked to carry. Every system gets the same. */
export interface Workload {
  /** Names the topic, stream or queues; the same name is the same topic again. Letters, digits and "-". */
  readonly name: string;
  /** Bytes an application puts into a message. The first eight carry the message's number. */
  readonly bodyBytes: number;
  /** Parts of the topic that a system may serve in parallel: queues, streams, keys. */
  readonly queues: number;
  /** Each has a connection of its own. */
  readonly producers: number;
  /** Sends of one producer that wait for their confirmation. */
  readonly inFlight: number;
  /** Each has a connection of its own. */
  readonly consumers: number;
}

/**
 * A started workload. It sends what it is told to, and its consumers receive all the time and acknowledge each message by
 * itself as soon as they have it.
 */
export interface Session {
  /** `confirmed` is called once, later, when the system says that the message is on disk, or why it is not. */
  send(producer: number, number: number, confirmed: (error?: Error) => void): void;
  stop(): Promise<void>;
}

export interface SessionEvents {
  /** The system has confirmed the acknowledgement of this message. */
  acked(number: number): void;
  /** The system has refused a send for now; the session sends it again by itself, and `confirmed` comes then. */
  refused(): void;
  /** The consumers cannot go on. */
  failed(error: Error): void;
}

export interface WriteCounters {
  /** Written to its log. */
  readonly logBytes: number;
  /** Written to any file, with what prepares the log's files and what shortens the next start. */
  readonly allBytes: number;
  /** Writes to its log, one per turn of its event loop. */
  readonly batches: number;
  readonly syncs: number;
  /** Time that syncs took; one is under way at a time. */
  readonly syncSeconds: number;
}

/** A running system: real processes on this machine. */
export interface Server {
  readonly processes: readonly number[];
  open(workload: Workload, events: SessionEvents): Promise<Session>;
  /** What the system itself counts, where it does. */
  counters?(): Promise<WriteCounters>;
  stop(): Promise<void>;
}

export interface Contender {
  readonly name: string;
  /** Version and the settings that decide about durability and speed. */
  readonly settings: string;
  start(directory: string): Promise<Server>;
}

/** How to get a system that is not here. */
export interface Missing {
  readonly name: string;
  readonly howToInstall: string;
}

/** Where a message's number stands in its body: 53 bits as a double, which every client carries as bytes. */
export function writeNumber(body: Buffer, number: number, at = 0): void {
  body.writeDoubleBE(number, at);
}

export function readNumber(body: Uint8Array, at = 0): number {
  return new DataView(body.buffer, body.byteOffset + at, 8).getFloat64(0);
}

/** Stops a server that does not go by itself. */
export async function stopHard(process: RunningProcess, graceMs = 10_000): Promise<void> {
  const timer = setTimeout(() => process.child.kill("SIGKILL"), graceMs);
  await process.stop("SIGTERM");
  clearTimeout(timer);
}
