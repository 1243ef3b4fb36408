import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Carried, Now } from "../broker-port.ts";
import type { CommitLog } from "../commit-log/commit-log.ts";
import type { Unconsumed } from "../dispatch/log-trimming.ts";
import { TrimReason } from "../record/log-trimmed-record.ts";
import { type Storage, StorageError } from "../storage/storage.ts";
import { AgeClock } from "./age-clock.ts";
import { type BaseMark, removeBasesBelow, writeBase } from "./base-image-store.ts";
import {
  decideRetention,
  type RetentionDecision,
  type RetentionSettings,
  type RetentionView,
  removalFloor,
} from "./retention-policy.ts";

/** How often it is looked whether the log has rolled, and whether something may go. */
const lookMs = 1_000;
/**
 * Base images may cost this share of what the log writes: with very many topics they are large, and are made less often. What
 * is removed at a time is more then.
 */
const baseShare = 0.05;

/** What retention asks of the state machine. */
export interface RetainedState {
  readonly appliedPosition: number;
  readonly logBegin: number;
  baseImage(position: number): Buffer;
  /** A base image has at least so many bytes: so that none is made only to be found too large. */
  readonly baseBytesMin: number;
  unconsumedBelow(position: number): Unconsumed[];
  carryBefore(position: number, now: Now): Carried;
  trimLog(begin: number, reason: TrimReason, now: Now): number;
}

/** What retention asks of the log, and does to it. */
export type RetainedLog = Pick<CommitLog, "syncedPosition" | "removeBelow"> & {
  readonly segments: RetentionView["segments"];
};

export interface RetentionOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MetricRegistry;
  readonly settings: RetentionSettings;
  /** The bases that are on disk. */
  readonly bases: readonly BaseMark[];
}

/**
 * Lets the oldest part of the log go. Whenever the log has rolled, a base image is written; when the policy says so, the log
 * begins at one of them. The order makes a crash at any step safe: base image durable, what waits unseen carried on, LogTrimmed
 * durable, and only then segments and older bases go. A start finishes what was begun.
 */
export class Retention {
  readonly #state: RetainedState;
  readonly #commitLog: RetainedLog;
  readonly #options: RetentionOptions;
  readonly #timer: Timer;
  readonly #bases: BaseMark[];
  readonly #age: AgeClock;
  #seenSegment: number;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(state: RetainedState, commitLog: RetainedLog, options: RetentionOptions) {
    this.#state = state;
    this.#commitLog = commitLog;
    this.#options = options;
    this.#bases = [...options.bases];
    this.#age = new AgeClock(options.clock, options.settings.ageMs);
    this.#seenSegment = commitLog.segments.at(-1)?.base ?? 0;
    options.metrics.gaugeOf("popmesh_broker_log_begin_position", "Where the log begins.", () => state.logBegin);
    this.#timer = options.clock.every(lookMs, () => this.#look());
  }

  /** Waits for the step that is under way; no more follow. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer.cancel();
    await this.#running;
  }

  #look(): void {
    if (this.#running !== undefined || this.#isStopped) return;
    this.#running = this.#step()
      .catch((error: unknown) => {
        // A full or read-only disk, a log that takes nothing: tried again with the next look.
        if (!(error instanceof StorageError) && !(error instanceof MeshError)) throw error;
        this.#options.log.warn({ err: error }, "retention could not go on; it is tried again");
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #step(): Promise<void> {
    const newest = this.#commitLog.segments.at(-1)?.base ?? 0;
    if (newest !== this.#seenSegment) {
      if (await this.#makeBase()) this.#seenSegment = newest;
    }
    // What an earlier process began to remove.
    await this.#removeSegments();
    const { storage, settings } = this.#options;
    const decision = decideRetention(
      {
        nowMs: this.#age.nowMs,
        logBegin: this.#state.logBegin,
        segments: this.#commitLog.segments,
        bases: this.#bases,
        freeBytes: storage.freeBytes(),
        totalBytes: storage.totalBytes(),
      },
      this.#age.isSettled ? settings : { ...settings, ageMs: 0 },
    );
    if (decision !== undefined) await this.#trim(decision);
  }

  /** False: not now. */
  async #makeBase(): Promise<boolean> {
    const { storage, clock } = this.#options;
    const position = this.#state.appliedPosition;
    const since = position - (this.#bases.at(-1)?.position ?? 0);
    if (2 * this.#state.baseBytesMin > baseShare * since) return true;
    const bytes = this.#state.baseImage(position);
    if (2 * bytes.length > baseShare * since) return true;
    const mark = { position, takenMs: this.#age.nowMs };
    await this.#durable(position - 1);
    if (this.#isStopped) return false;
    await writeBase(storage, clock, mark, bytes);
    this.#bases.push(mark);
    return true;
  }

  async #trim({ begin, reason }: RetentionDecision): Promise<void> {
    const { log, clock } = this.#options;
    while (!this.#state.carryBefore(begin, this.#now()).isFinished) {
      await new Promise<void>((resolve) => clock.atTurnEnd(resolve));
      if (this.#isStopped) return;
    }
    this.#tellLosses(this.#state.unconsumedBelow(begin));
    const position = this.#state.trimLog(begin, reason, this.#now());
    log.info({ begin, reason: reasonText(reason) }, "the log begins later from now on");
    await this.#durable(position);
    if (!this.#isStopped) await this.#removeSegments();
  }

  async #removeSegments(): Promise<void> {
    const { storage, clock } = this.#options;
    const { logBegin } = this.#state;
    if (logBegin === 0) return;
    const keepsSpares = storage.freeBytes() > 0.15 * storage.totalBytes() || !Number.isFinite(storage.totalBytes());
    await this.#commitLog.removeBelow(removalFloor(this.#commitLog.segments, logBegin), keepsSpares);
    if ((this.#bases[0]?.position ?? logBegin) >= logBegin) return;
    await removeBasesBelow(storage, logBegin);
    while (this.#bases[0] !== undefined && this.#bases[0].position < logBegin) this.#bases.shift();
    await new Promise<void>((resolve) => clock.atTurnEnd(resolve));
  }

  #tellLosses(lost: readonly Unconsumed[]): void {
    const { log, metrics } = this.#options;
    for (const { group, topic, messages } of lost) {
      metrics
        .counter("popmesh_broker_expired_unconsumed_total", "Messages removed by retention before a group had them.", {
          group,
          topic,
        })
        .add(messages);
      log.warn({ group, topic, messages }, "retention removes messages that the group has not consumed");
    }
  }

  #now(): Now {
    return { monotonicMs: this.#options.clock.monotonicMs(), wallMs: this.#options.clock.wallMs() };
  }

  /** Resolves when the log is on disk up to there, or the broker stops. */
  async #durable(position: number): Promise<void> {
    const { clock } = this.#options;
    while (this.#commitLog.syncedPosition <= position && !this.#isStopped) {
      await new Promise<void>((resolve) => clock.after(10, resolve));
    }
  }
}

function reasonText(reason: TrimReason): string {
  if (reason === TrimReason.Age) return "age";
  return reason === TrimReason.Size ? "size" : "disk pressure";
}
