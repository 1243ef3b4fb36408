import type { RateLimitRecord } from "../resource/rate-limit.ts";
import { LimitDivision } from "./limit-division.ts";

/** What a sidecar says of one limit. Rates are per second, what it holds a part of the limit. */
export interface LimitReport {
  readonly name: string;
  readonly messagesWanted: number;
  readonly bytesWanted: number;
  readonly messagesHeld: number;
  readonly bytesHeld: number;
}

export interface LimitShare {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
}

/** How a limit stands at one sidecar, for `describe`. */
export interface LimitStanding {
  readonly sidecar: string;
  readonly messagesPerSecond?: number;
  readonly bytesPerSecond?: number;
}

/** Sidecars ask this often, and less often the more there are: about a thousand questions a second in all. */
const reportMsMin = 1_000;
const reportMsMax = 10_000;
/** One that gets less than it should asks again soon. */
const owedReportMs = 250;
/** A sidecar that did not ask this many times is gone. */
const leaseReports = 5;
/**
 * After a start, sidecars hold shares that an earlier control plane gave them. All that live have asked by then: they ask every
 * second or so, and come back to a control plane within one more.
 */
const learnMs = 4_000;

interface Divided {
  readonly limit: RateLimitRecord;
  readonly messages: LimitDivision;
  readonly bytes: LimitDivision;
}

/** The shares of all limits, in memory: sidecars say themselves what they hold, so a control plane that starts learns them. */
export class LimitShares {
  readonly #limitNamed: (name: string) => RateLimitRecord | undefined;
  readonly #divided = new Map<string, Divided>();
  readonly #lastSeenMs = new Map<string, number>();
  readonly #learnsUntilMs: number;
  /** Whether a limit was there at the start. */
  readonly #isOld: (name: string) => boolean;

  /** `limitNamed`: what exists under a name; asked with every report. */
  constructor(
    limitNamed: (name: string) => RateLimitRecord | undefined,
    isOld: (name: string) => boolean,
    nowMs: number,
  ) {
    this.#limitNamed = limitNamed;
    this.#isOld = isOld;
    this.#learnsUntilMs = nowMs + learnMs;
  }

  /** How often sidecars ask, by how many there are. */
  get reportMs(): number {
    return Math.min(reportMsMax, Math.max(reportMsMin, this.#lastSeenMs.size));
  }

  /** What a sidecar may use of each limit it names that exists, and when it shall ask again. */
  report(
    sidecar: string,
    reports: readonly LimitReport[],
    nowMs: number,
  ): { readonly shares: readonly LimitShare[]; readonly reportAfterMs: number } {
    this.#noteSeen(sidecar, nowMs);
    const leaseMs = this.reportMs * leaseReports;
    let isOwed = false;
    const shares: LimitShare[] = [];
    for (const { name, messagesWanted, bytesWanted, messagesHeld, bytesHeld } of reports) {
      const divided = this.#dividedOf(name);
      if (divided === undefined) continue;
      const { limit } = divided;
      const partOf = (wanted: number, rate: number) => (rate === 0 ? 0 : Math.max(0, wanted) / rate);
      const messagesPart = partOf(messagesWanted, limit.messagesPerSecond);
      const bytesPart = partOf(bytesWanted, limit.bytesPerSecond);
      const messages = divided.messages.report(sidecar, messagesPart, messagesHeld, nowMs, leaseMs);
      const bytes = divided.bytes.report(sidecar, bytesPart, bytesHeld, nowMs, leaseMs);
      shares.push({ name, messages, bytes });
      isOwed ||= divided.messages.isOwed(sidecar) || divided.bytes.isOwed(sidecar);
    }
    return { shares, reportAfterMs: isOwed ? owedReportMs : this.reportMs };
  }

  /** A sidecar stops. */
  leave(sidecar: string): void {
    this.#lastSeenMs.delete(sidecar);
    for (const { messages, bytes } of this.#divided.values()) {
      messages.leave(sidecar);
      bytes.leave(sidecar);
    }
  }

  /** What each sidecar may be using of a limit now. */
  standings(name: string, nowMs: number): readonly LimitStanding[] {
    const divided = this.#dividedOf(name);
    if (divided === undefined) return [];
    divided.messages.expire(nowMs);
    divided.bytes.expire(nowMs);
    const { messagesPerSecond, bytesPerSecond } = divided.limit;
    const bytes = divided.bytes.granted;
    return [...divided.messages.granted].map(([sidecar, part]) => ({
      sidecar,
      ...(messagesPerSecond === 0 ? {} : { messagesPerSecond: rounded(part * messagesPerSecond) }),
      ...(bytesPerSecond === 0 ? {} : { bytesPerSecond: rounded((bytes.get(sidecar) ?? 0) * bytesPerSecond) }),
    }));
  }

  /** Of a limit as it is now: parts stay what they are when its rates change. */
  #dividedOf(name: string): Divided | undefined {
    const limit = this.#limitNamed(name);
    const before = this.#divided.get(name);
    if (limit === undefined) {
      this.#divided.delete(name);
      return undefined;
    }
    if (before?.limit === limit) return before;
    const learnsUntilMs = this.#isOld(name) ? this.#learnsUntilMs : Number.NEGATIVE_INFINITY;
    const divided = {
      limit,
      messages: before?.messages ?? new LimitDivision(learnsUntilMs),
      bytes: before?.bytes ?? new LimitDivision(learnsUntilMs),
    };
    this.#divided.set(name, divided);
    return divided;
  }

  #noteSeen(sidecar: string, nowMs: number): void {
    this.#lastSeenMs.delete(sidecar);
    this.#lastSeenMs.set(sidecar, nowMs);
    // In the order of their last report, so those that are gone come first.
    for (const [other, seenMs] of this.#lastSeenMs) {
      if (seenMs > nowMs - reportMsMax * leaseReports) break;
      this.#lastSeenMs.delete(other);
    }
  }
}

function rounded(rate: number): number {
  return Math.round(rate * 10) / 10;
}
