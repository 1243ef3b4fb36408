import type { Log } from "./log.ts";

/** Exit codes of every process of the mesh (sysexits.h where it has one). */
export const ExitCode = {
  Ok: 0,
  /** Wrong settings. */
  Usage: 64,
  /** An error nobody expected; the process never goes on after one. */
  Software: 70,
  /** The log could not be written or synced: nothing more may be acknowledged. */
  Storage: 74,
  /** Another process has the data directory. */
  Locked: 75,
  /** The data directory was written by a newer version, or an address cannot be bound. */
  Config: 78,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A process that can be stopped. */
export interface Stoppable {
  /** Drains and ends in order. */
  stop(): Promise<void>;
  /** Ends at once; what a client has not been told about stays safe on disk. */
  stopNow(): void;
}

/**
 * Ties a running process to the outside: SIGTERM and SIGINT drain, a second one stops at once; under a supervisor the end of
 * standard input means that the supervisor is gone, and the process follows. An uncaught error is logged and ends the process.
 */
export function runUntilStopped(
  running: Stoppable,
  options: { readonly log: Log; readonly supervised: boolean },
): void {
  let isStopping = false;
  const stop = (why: string) => {
    if (isStopping) {
      options.log.warn({ why }, "stopping at once");
      running.stopNow();
      process.exit(ExitCode.Ok);
    }
    isStopping = true;
    options.log.info({ why }, "stopping");
    running.stop().then(
      () => process.exit(ExitCode.Ok),
      (error: unknown) => {
        options.log.error({ err: error }, "stopping failed");
        process.exit(ExitCode.Software);
      },
    );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  // A terminal sends SIGINT to the supervisor and to us alike; then the supervisor decides.
  process.on("SIGINT", () => {
    if (!options.supervised) stop("SIGINT");
  });
  if (options.supervised) {
    process.stdin.on("end", () => stop("the supervisor is gone"));
    process.stdin.on("error", () => stop("the supervisor is gone"));
    process.stdin.resume();
  }
}

/** An uncaught error ends the process with 70: state nobody vouches for must not go on. Install before anything else. */
export function exitOnUncaught(log: Log): void {
  const end = (error: unknown) => {
    log.error({ err: error }, "uncaught error; the process ends");
    process.exit(ExitCode.Software);
  };
  process.on("uncaughtException", end);
  process.on("unhandledRejection", end);
}
