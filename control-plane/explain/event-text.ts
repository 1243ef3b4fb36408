import type { ExplainedEvent } from "./explained.ts";

/** What happened to a message, without when: the same words wherever it is told. */
export function eventText({ event, attempt, holder, lane, owner, invisibleMs, reason }: ExplainedEvent): string {
  if (event === "handed out") {
    const own = owner ?? "base";
    const as = lane === undefined || lane === "" ? "base" : lane;
    const standIn = owner !== undefined && owner !== as ? `, standing in for lane ${own}` : "";
    const seconds = (invisibleMs ?? 0) / 1000;
    return `handed out to ${holder} of lane ${as}${standIn}, attempt ${attempt}, invisible for ${seconds} s`;
  }
  if (reason !== undefined) return `${event}: ${reason} (attempt ${attempt}, last held by ${holder})`;
  return invisibleMs === undefined || invisibleMs === 0 ? event : `${event}: ${invisibleMs / 1000} s from then on`;
}
