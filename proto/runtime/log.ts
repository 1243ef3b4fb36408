import { type LevelWithSilent, pino } from "pino";

/** Structured log lines. Never pass keys, signatures or message bodies (X5). */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A log whose lines all carry `fields`. */
  child(fields: object): Log;
  /** Least level written: "debug" | "info" | "warn" | "error" | "silent". May be changed while running. */
  level: string;
}

/** JSON lines to standard error, one per event, so that standard output stays free for what a command prints. */
export function createLog(process_: string, level: LevelWithSilent | string): Log {
  return pino(
    { level, base: { process: process_ }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** Drops everything. For tests of parts that log. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
  level: "silent",
};
