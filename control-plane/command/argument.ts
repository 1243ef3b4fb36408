import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { CommandError } from "./api-client.ts";

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A moment as people write it: an ISO time, or a duration ("90s", "10m", "2h", "1d") before now. Milliseconds since 1970. */
export function momentOf(text: string, nowMs = new NodeClock().wallMs()): number {
  const [, count, unit] = /^(\d+)(s|m|h|d)$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return nowMs - Number(count) * unitMs[unit]!;
  // A text without a zone would mean something else on each machine.
  if (/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:?\d\d)$/.test(text)) {
    const ms = Date.parse(text);
    if (!Number.isNaN(ms)) return ms;
  }
  throw new CommandError(
    `"${text}" is no time; write 2026-01-01T00:00:00Z, or a duration before now such as 10m or 2h`,
  );
}

/** "30s", "2m": milliseconds. */
export function durationOf(text: string): number {
  const [, count, unit] = /^(\d+)(s|m|h|d)$/.exec(text) ?? [];
  if (count === undefined || unit === undefined) throw new CommandError(`"${text}" is no duration; write 30s or 2m`);
  return Number(count) * unitMs[unit]!;
}

/** Where a group shall go on, as `group.reset` takes it. */
export function positionOf(
  text: string,
): "earliest" | "latest" | { readonly offset: number } | { readonly timeMs: number } {
  if (text === "earliest" || text === "latest") return text;
  return /^\d+$/.test(text) ? { offset: Number(text) } : { timeMs: momentOf(text) };
}

/** For options that count. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new CommandError(`"${text}" is no whole number`);
  return Number(text);
}

/** "100/s", "5/m": so many per second. */
export function rateOf(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)\/(s|m|h)$/.exec(text) ?? [];
  const perSecond = count === undefined || unit === undefined ? Number.NaN : (Number(count) * 1_000) / unitMs[unit]!;
  if (!(perSecond > 0)) throw new CommandError(`"${text}" is no rate; write 100/s or 30/m`);
  return perSecond;
}
