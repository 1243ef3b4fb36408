import {
  type LogReader,
  type LogRecord,
  LogTrimmedError,
  type LogWriter,
  type RecordType,
} from "../../../broker-core/commit-log/log.ts";
import { Code } from "../../../proto/code.ts";
import { MeshError } from "../../../proto/runtime/mesh-error.ts";

const ringBytes = 8 * 1024 * 1024;
/** Of a record, before its body: type and length. */
const headerBytes = 8;

/** A log in a ring of memory: it forgets what is older than a few turns, and costs next to nothing. */
export class RingLog implements LogWriter, LogReader {
  endPosition = 0;
  writtenPosition = 0;
  durablePosition = 0;
  youngPosition = 0;
  takesMessages = true;
  takesReleases = true;
  onDurable: ((durablePosition: number) => void) | undefined;
  readonly #bytes = Buffer.alloc(ringBytes);

  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    const bytes = headerBytes + length;
    // A record lies in one piece.
    const left = ringBytes - (this.endPosition % ringBytes);
    if (left < bytes) this.endPosition += left;
    const position = this.endPosition;
    const at = position % ringBytes;
    this.#bytes.writeUInt32LE(type, at);
    this.#bytes.writeUInt32LE(length, at + 4);
    fill(this.#bytes, at + headerBytes);
    this.endPosition += bytes;
    return position;
  }

  read(position: number): LogRecord {
    const begin = this.endPosition - ringBytes;
    if (position < begin) throw new LogTrimmedError(position, begin);
    const at = position % ringBytes;
    const bodyAt = at + headerBytes;
    const length = this.#bytes.readUInt32LE(at + 4);
    return {
      position,
      type: this.#bytes.readUInt32LE(at) as RecordType,
      body: this.#bytes.subarray(bodyAt, bodyAt + length),
      nextPosition: position + headerBytes + length,
    };
  }

  /** All that was appended is on disk. */
  sync(): void {
    this.writtenPosition = this.endPosition;
    this.durablePosition = this.endPosition;
  }

  refusal(): MeshError {
    return new MeshError(Code.InternalServerError, "this log takes everything");
  }

  whenWritten(_position: number, action: () => void): void {
    action();
  }

  whenDurable(_position: number, action: () => void): void {
    action();
  }
}
