import { type Carried, noPosition } from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import { LentMessage } from "./lent-message.ts";
import type { TimedJournal } from "./timed-journal.ts";
import { type RowsInLogOrder, stretchBytes } from "./waiting-table.ts";

/** Written again in one call: a turn stays short. */
const carriedMax = 1_024;
const carriedBytesMax = 4 * 1024 * 1024;

/**
 * Writes waiting messages again before the segment that holds them goes: they outlive retention. Stretch by stretch of the
 * log, in its order, so that the disk is read in one direction.
 */
export class Carrier {
  readonly #tables: BrokerTables;
  readonly #log: LogReader & LogWriter;
  readonly #records: TimedJournal;
  readonly #copy = new LentMessage();
  /** Below, nothing waits any more but messages whose bytes are damaged: those cannot be saved. */
  #doneBelow = 0;
  /** The stretch at hand: its messages, the next of them, and where it ends. */
  #rows: RowsInLogOrder | undefined;
  #next = 0;
  #rowsEnd = 0;
  /** Where messages lay before that were carried lately, by number: until their new records are written they are read there. */
  readonly #origins = new Map<number, number>();
  #lastCarried: number = noPosition;

  constructor(tables: BrokerTables, log: LogReader & LogWriter, records: TimedJournal) {
    this.#tables = tables;
    this.#log = log;
    this.#records = records;
  }

  /** See `BrokerPort.carryBefore`. */
  carryBefore(before: number): Carried {
    // What is not written yet cannot be read, and lies in no segment that is about to go.
    const position = Math.min(before, this.#log.writtenPosition);
    let last = noPosition;
    if (this.#lastCarried < this.#log.writtenPosition) this.#origins.clear();
    if (this.#rows === undefined && !this.#beginStretch(position)) return { position: last, isFinished: true };
    const rows = this.#rows!;
    let bytes = 0;
    for (let count = 0; this.#next < rows.length; this.#next++) {
      if (count === carriedMax || bytes >= carriedBytesMax) return { position: last, isFinished: false };
      const message = this.#messageOf(rows, this.#next);
      if (message === undefined) continue;
      const number = this.#tables.waiting.number(rows.row(this.#next));
      this.#origins.set(number, rows.position(this.#next));
      last = this.#lastCarried = this.#records.carry(number, message);
      bytes += message.length;
      count++;
    }
    this.#doneBelow = this.#rowsEnd;
    this.#rows = undefined;
    // The next stretch takes another pass over the table, and so another turn.
    return { position: last, isFinished: !(this.#nextStretch() < position) };
  }

  /** Where a message can be read that waits in a record which is not written yet; undefined: nowhere, it is new. */
  originOf(number: number): number | undefined {
    return this.#origins.get(number);
  }

  #nextStretch(): number {
    return Math.max(this.#doneBelow, this.#tables.waiting.stretchFrom(this.#doneBelow));
  }

  #beginStretch(position: number): boolean {
    const from = this.#nextStretch();
    if (!(from < position)) return false;
    this.#rowsEnd = Math.min(position, (Math.floor(from / stretchBytes) + 1) * stretchBytes);
    this.#rows = this.#tables.waiting.rowsIn(from, this.#rowsEnd);
    this.#next = 0;
    return true;
  }

  /** Undefined when it does not lie there any more, or cannot be read. */
  #messageOf(rows: RowsInLogOrder, index: number): Uint8Array | undefined {
    const { waiting } = this.#tables;
    const row = rows.row(index);
    const position = rows.position(index);
    if (waiting.number(row) === 0 || waiting.position(row) !== position) return undefined;
    try {
      const { body, start } = readStoredMessage(this.#log, position);
      return this.#copy.take(body, start);
    } catch (error) {
      // The log has reported the damage; the message is released without content when it is due.
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }
}
