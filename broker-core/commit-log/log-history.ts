import type { LogRecord, RecordType } from "./log.ts";
import { LogScanner } from "./log-scanner.ts";
import type { SegmentList } from "./segment-list.ts";

/** A part of the log that lies in one file. */
export interface LogStretch {
  /** First log position. */
  readonly from: number;
  /** Position behind the last that is written. */
  readonly to: number;
  /** Nothing is added any more. */
  readonly isSealed: boolean;
  /** Names this life of the file: a recycled file holds other positions under another number. */
  readonly nonce: number;
}

const windowBytesExtra = 16 * 1024;
const windowBytesMax = 1024 * 1024;

/** The log as something to look through, in order of position. Damaged stretches are passed over. */
export class LogHistory {
  readonly #segments: SegmentList;
  readonly #written: () => number;
  /** For one scan at a time: scans in small steps would otherwise read, and allocate, a large window for each. */
  #window: Buffer | undefined;

  constructor(segments: SegmentList, written: () => number) {
    this.#segments = segments;
    this.#written = written;
  }

  stretches(): LogStretch[] {
    const written = this.#written();
    return this.#segments.all
      .map(({ base, end, epoch }) => ({
        ...{ from: base, to: Math.min(end, written), isSealed: end <= written, nonce: epoch.nonce },
      }))
      .filter(({ from, to }) => from < to);
  }

  /**
   * Visits the intact records from `from` on, up to `to` or until about `bytesMax` bytes were looked at; `from` must be a frame
   * boundary: the beginning of a stretch, or what this function returned. Returns where to go on. Throws `StorageError` when the
   * file is gone.
   */
  scan(from: number, to: number, bytesMax: number, visit: (record: LogRecord) => void): number {
    const window = this.#takeWindow(bytesMax);
    try {
      return this.#scan(new LogScanner(this.#segments.at(from), from, false, window), to, bytesMax, visit);
    } finally {
      this.#window = window;
    }
  }

  #scan(scanner: LogScanner, to: number, bytesMax: number, visit: (record: LogRecord) => void): number {
    const from = scanner.position;
    while (scanner.nextPosition < to && scanner.nextPosition - from < bytesMax) {
      const item = scanner.next();
      if (item === "end") return to;
      if (item !== "record") continue;
      const { position, nextPosition, body } = scanner;
      visit({ position, nextPosition, type: scanner.type as RecordType, body });
    }
    return Math.min(scanner.nextPosition, to);
  }

  /** Holds what is asked for and the rest of the last record, if that is not large. */
  #takeWindow(bytesMax: number): Buffer {
    const bytes = Math.min(windowBytesMax, bytesMax + windowBytesExtra);
    const window = this.#window;
    this.#window = undefined;
    return window !== undefined && window.length === bytes ? window : Buffer.allocUnsafeSlow(bytes);
  }
}
