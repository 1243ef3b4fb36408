import { matchesClient } from "./client-pattern.ts";
import { limitText, particularityOf, type RateLimit } from "./rate-limit.ts";
import { TokenBucket } from "./token-bucket.ts";

/** The part of a limit that this sidecar may use, from 0 to 1, of its messages and of its bytes. */
export interface LimitShare {
  readonly messages: number;
  readonly bytes: number;
}

/** Until the control plane has said anything, nothing passes: it answers within milliseconds. */
export const noShare: LimitShare = Object.freeze({ messages: 0, bytes: 0 });

/** What went through and what would have, since it was asked for last. */
export interface LimitDemand {
  readonly usedMessages: number;
  readonly usedBytes: number;
  readonly wantedMessages: number;
  readonly wantedBytes: number;
}

/** Messages and bytes that a receive may take. */
export interface Allowance {
  readonly messages: number;
  readonly bytes: number;
}

/** A first message needs no waiting; a bucket that began full would give a burst to everyone who starts anew. */
const tokensAtStart = 1;

/** A limit at work: its buckets, filled at this sidecar's share of the rate, and the count of what is wanted of it. */
export class Limiter {
  readonly limit: RateLimit;
  readonly particularity: number;
  readonly #messages: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;
  #share: LimitShare;
  #usedMessages = 0;
  #usedBytes = 0;
  #wantedMessages = 0;
  #wantedBytes = 0;
  /** Sends refused and receives that had to wait. */
  refusals = 0;

  constructor(limit: RateLimit, share: LimitShare, nowMs: number) {
    this.limit = limit;
    this.particularity = particularityOf(limit);
    this.#share = share;
    this.#messages = limit.messagesPerSecond > 0 ? new TokenBucket(tokensAtStart, nowMs) : undefined;
    this.#bytes = limit.bytesPerSecond > 0 ? new TokenBucket(tokensAtStart, nowMs) : undefined;
    this.setShare(share, nowMs);
  }

  get share(): LimitShare {
    return this.#share;
  }

  setShare(share: LimitShare, nowMs: number): void {
    this.#share = share;
    const { messagesPerSecond, bytesPerSecond, burstMs } = this.limit;
    this.#messages?.setRate(messagesPerSecond * share.messages, burstMs, nowMs);
    this.#bytes?.setRate(bytesPerSecond * share.bytes, burstMs, nowMs);
  }

  isFor(clientId: string): boolean {
    return this.limit.client === "" || matchesClient(this.limit.client, clientId);
  }

  /** Whether a send of so much may pass; takes nothing yet. */
  admits(messages: number, bytes: number, nowMs: number): boolean {
    return (this.#messages?.admits(messages, nowMs) ?? true) && (this.#bytes?.admits(bytes, nowMs) ?? true);
  }

  take(messages: number, bytes: number): void {
    this.#messages?.take(messages);
    this.#bytes?.take(bytes);
    this.#usedMessages += messages;
    this.#usedBytes += bytes;
    this.#wantedMessages += messages;
    this.#wantedBytes += bytes;
  }

  /** A send of so much does not pass. */
  refuse(messages: number, bytes: number): void {
    this.refusals++;
    this.#wantedMessages += messages;
    this.#wantedBytes += bytes;
  }

  /** How long until so much may pass, if nothing else does. */
  waitMs(messages: number, bytes: number, nowMs: number): number {
    return Math.max(this.#messages?.waitMs(messages, nowMs) ?? 0, this.#bytes?.waitMs(bytes, nowMs) ?? 0);
  }

  /** How many of so many messages a receive may take now; 0: none. */
  reservableMessages(most: number, nowMs: number): number {
    return this.#messages?.reservable(most, nowMs) ?? most;
  }

  reservableBytes(most: number, nowMs: number): number {
    return this.#bytes?.reservable(most, nowMs) ?? most;
  }

  reserve({ messages, bytes }: Allowance): void {
    this.#messages?.reserve(messages);
    this.#bytes?.reserve(bytes);
  }

  /** A receive that was allowed so much has brought `messages` of `bytes`; it would have taken `asked`. */
  settle(allowed: Allowance, messages: number, bytes: number, asked: number): void {
    this.#messages?.settle(allowed.messages, messages);
    this.#bytes?.settle(allowed.bytes, bytes);
    this.#usedMessages += messages;
    this.#usedBytes += bytes;
    // A receive that got all it was allowed would have taken more.
    const isCut = messages > 0 && (messages >= allowed.messages || bytes >= allowed.bytes);
    const wanted = isCut ? Math.max(asked, messages) : messages;
    this.#wantedMessages += wanted;
    this.#wantedBytes += messages === 0 ? 0 : (bytes * wanted) / messages;
  }

  /** A receive of so many messages waits for `ms`. */
  noteWait(messages: number, bytes: number, ms: number): void {
    this.refusals++;
    this.#wantedMessages += (messages * ms) / 1_000;
    this.#wantedBytes += (bytes * ms) / 1_000;
  }

  /** What was counted since the last call, which starts the count anew. */
  takeDemand(): LimitDemand {
    const demand = {
      usedMessages: this.#usedMessages,
      usedBytes: this.#usedBytes,
      wantedMessages: this.#wantedMessages,
      wantedBytes: this.#wantedBytes,
    };
    this.#usedMessages = this.#usedBytes = this.#wantedMessages = this.#wantedBytes = 0;
    return demand;
  }

  /** Why a send does not pass, and when it may: for the one whose send it is. */
  refusalText(waitMs: number): string {
    const { messagesPerSecond, bytesPerSecond, burstMs } = this.limit;
    const rates = [
      ...(messagesPerSecond === 0 ? [] : [`${messagesPerSecond} messages`]),
      ...(bytesPerSecond === 0 ? [] : [`${bytesPerSecond} bytes`]),
    ].join(" and ");
    const when = Number.isFinite(waitMs)
      ? `in ${Math.max(1, Math.ceil(waitMs))} ms`
      : "when this sidecar has its share";
    return `${limitText(this.limit)} is used up: ${rates} a second in the whole mesh, burst ${burstMs} ms; nothing was sent, send again ${when}`;
  }
}
