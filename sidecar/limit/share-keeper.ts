import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { LimitTable } from "./limit-table.ts";
import { type LimitShare, noShare } from "./limiter.ts";

/** What this sidecar says of a limit: rates per second, and the part of the limit that it uses. */
export interface ShareQuestion {
  readonly name: string;
  readonly messagesWanted: number;
  readonly bytesWanted: number;
  readonly messagesHeld: number;
  readonly bytesHeld: number;
}

export interface ShareAnswer {
  readonly shares: readonly (LimitShare & { readonly name: string })[];
  readonly reportAfterMs: number;
}

/** The control plane, as far as shares go. */
export interface ShareSource {
  /** Undefined when nobody answered. An answer that comes later than that is lost. */
  ask(questions: readonly ShareQuestion[]): Promise<ShareAnswer | undefined>;
  /** What this sidecar holds is free. */
  leave(): Promise<void>;
}

/** Where shares are kept across a restart. */
export interface ShareMemory {
  get(name: string): LimitShare | undefined;
  put(name: string, share: LimitShare): void;
}

/**
 * What a sidecar takes of a limit of which it never had a share, when nobody answers: nobody knows how many others do the same, and
 * nothing at all would make the control plane something without which no message is sent.
 */
export const shareUnanswered: LimitShare = Object.freeze({ messages: 0.1, bytes: 0.1 });

const reportMsDefault = 1_000;
const reportMsMin = 100;
const reportMsMax = 60_000;
/** A share is worth the disk when it differs by more than this part of itself. */
const keepDifference = 0.1;

/** Asks for this sidecar's shares of the limits in force, and puts them to work. Idle while there is no limit. */
export class ShareKeeper {
  readonly #table: LimitTable;
  readonly #source: ShareSource;
  readonly #memory: ShareMemory;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #isAsking = false;
  #isStopped = false;
  #askedMs: number;

  constructor(table: LimitTable, source: ShareSource, memory: ShareMemory, clock: Clock) {
    this.#table = table;
    this.#source = source;
    this.#memory = memory;
    this.#clock = clock;
    this.#askedMs = clock.monotonicMs();
    table.onReplaced = () => this.#onReplaced();
  }

  /** Asks no more and says goodbye; the shares stay as they are. */
  async stop(): Promise<void> {
    const isKnown = !this.#isStopped && this.#table.limiters.size > 0;
    this.#isStopped = true;
    this.#timer?.cancel();
    if (isKnown) await this.#source.leave();
  }

  #onReplaced(): void {
    for (const { share } of this.#table.limiters.values()) {
      if (share !== noShare) continue;
      this.#timer?.cancel();
      void this.#ask();
      return;
    }
    if (this.#timer === undefined && this.#table.limiters.size > 0) void this.#ask();
  }

  async #ask(): Promise<void> {
    // Two questions at once could not both say what is held; a limit that is new meanwhile is asked for right after.
    if (this.#isAsking || this.#isStopped) return;
    this.#timer = undefined;
    if (this.#table.limiters.size === 0) return;
    this.#isAsking = true;
    const questions = this.#questions();
    const asked = new Set(questions.map(({ name }) => name));
    const answer = await this.#source.ask(questions);
    this.#isAsking = false;
    if (this.#isStopped) return;
    if (answer === undefined) this.#onSilence(asked);
    else this.#onAnswer(answer);
    const isNewThere = [...this.#table.limiters].some(([name, { share }]) => share === noShare && !asked.has(name));
    const afterMs = answer === undefined || answer.reportAfterMs === 0 ? reportMsDefault : answer.reportAfterMs;
    const boundedMs = isNewThere ? 0 : Math.min(reportMsMax, Math.max(reportMsMin, afterMs));
    this.#timer = this.#clock.after(boundedMs, () => void this.#ask());
  }

  #questions(): ShareQuestion[] {
    const nowMs = this.#clock.monotonicMs();
    const seconds = Math.max(0.05, (nowMs - this.#askedMs) / 1_000);
    this.#askedMs = nowMs;
    return [...this.#table.limiters].map(([name, limiter]) => {
      const { wantedMessages, wantedBytes } = limiter.takeDemand();
      return {
        name,
        messagesWanted: wantedMessages / seconds,
        bytesWanted: wantedBytes / seconds,
        messagesHeld: limiter.share.messages,
        bytesHeld: limiter.share.bytes,
      };
    });
  }

  #onAnswer({ shares }: ShareAnswer): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { name, messages, bytes } of shares) {
      const limiter = this.#table.limiters.get(name);
      if (limiter === undefined) continue;
      const share = { messages: partOf(messages), bytes: partOf(bytes) };
      limiter.setShare(share, nowMs);
      const kept = this.#memory.get(name);
      if (kept === undefined || differs(kept.messages, share.messages) || differs(kept.bytes, share.bytes)) {
        this.#memory.put(name, share);
      }
    }
  }

  /** What has a share keeps it; what has none goes by the last one of an earlier life, or takes a little. */
  #onSilence(asked: ReadonlySet<string>): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, limiter] of this.#table.limiters) {
      if (limiter.share === noShare && asked.has(name)) {
        limiter.setShare(this.#memory.get(name) ?? shareUnanswered, nowMs);
      }
    }
  }
}

function partOf(value: number): number {
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
}

function differs(kept: number, now: number): boolean {
  return Math.abs(kept - now) > keepDifference * Math.max(kept, now);
}
