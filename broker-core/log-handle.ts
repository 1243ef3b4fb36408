import type { MeshError } from "../proto/runtime/mesh-error.ts";
import type { CommitLog } from "./commit-log/commit-log.ts";
import type { LogReader, LogRecord, LogWriter, RecordType } from "./commit-log/log.ts";

/**
 * The log before it is open: the state machine is made first, because opening the log replays into it. During the replay it
 * neither appends nor reads.
 */
export class LogHandle implements LogWriter, LogReader {
  #log: CommitLog | undefined;

  connect(log: CommitLog): void {
    this.#log = log;
  }

  get #open(): CommitLog {
    if (this.#log === undefined) throw new Error("the log was used before it was open");
    return this.#log;
  }

  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    return this.#open.append(type, length, fill);
  }

  get takesMessages(): boolean {
    return this.#open.takesMessages;
  }

  get takesReleases(): boolean {
    return this.#open.takesReleases;
  }

  refusal(): MeshError {
    return this.#open.refusal();
  }

  get youngPosition(): number {
    return this.#open.youngPosition;
  }

  get endPosition(): number {
    return this.#open.endPosition;
  }

  get writtenPosition(): number {
    return this.#open.writtenPosition;
  }

  get durablePosition(): number {
    return this.#open.durablePosition;
  }

  whenWritten(position: number, action: () => void): void {
    this.#open.whenWritten(position, action);
  }

  whenDurable(position: number, action: () => void): void {
    this.#open.whenDurable(position, action);
  }

  get onDurable(): ((durablePosition: number) => void) | undefined {
    return this.#open.onDurable;
  }

  set onDurable(action: ((durablePosition: number) => void) | undefined) {
    this.#open.onDurable = action;
  }

  read(position: number): LogRecord {
    return this.#open.read(position);
  }
}
