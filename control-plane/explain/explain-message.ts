import { eventText } from "./event-text.ts";
import type { ExplainedCopy, ExplainedEvent, ExplainedGroup, ExplainedPlaceOfGroup } from "./explained.ts";
import { decisionLines, whoGets } from "./lane-words.ts";

/** A message in sentences: whose it is and why, what happened to it, and what it waits for (L12). */
export function messageLines(broker: string, copy: ExplainedCopy): string[] {
  const { topic, queueId, offset, standing, laneMark, groups, events, message } = copy;
  const where = queueId === null ? `${standing}, in no queue` : `queue ${queueId}, offset ${offset}`;
  const mark = laneMark === null ? "its bytes are damaged" : laneMark === "" ? "no lane mark" : `lane mark ${laneMark}`;
  const lines = [`${message?.messageId ?? "A damaged message"} in ${topic} on broker ${broker}: ${where}; ${mark}.`];
  for (const event of events) if (event.group === undefined) lines.push(`  ${dated(event)}`);
  if (standing === "waiting") lines.push("  It is classified when it becomes visible; until then it is of no lane.");
  else if (groups.length === 0) lines.push("  No group has read this topic there yet.");
  for (const group of groups) {
    lines.push(`Group ${group.group}:`);
    for (const line of decisionLines(group, true)) lines.push(`  ${line}`);
    if (group.ownerLane !== null && group.ownerLane.lane !== group.lane) {
      lines.push(
        `  It belongs to lane ${group.ownerLane.lane} all the same: the group had no lane ${group.lane} when it came, or has none any more.`,
      );
    }
    for (const event of events) if (event.group === group.group) lines.push(`  ${dated(event)}`);
    lines.push(`  Now: ${stateText(group)}`);
  }
  return lines;
}

/** What would become of a message, group by group; brokers that say the same are told once. */
export function wouldLines(
  topic: string,
  brokers: readonly { readonly broker: string; readonly groups: readonly ExplainedGroup[] }[],
): string[] {
  const byText = new Map<string, string[]>();
  for (const { broker, groups } of brokers) {
    const lines = groups.flatMap((group) => [
      `Group ${group.group}:`,
      ...decisionLines(group, false).map((line) => `  ${line}`),
      group.ownerLane === null || group.baseLane === null
        ? "  The group has not read the topic there yet."
        : `  ${whoGets(group.ownerLane, group.baseLane)}`,
    ]);
    const text =
      lines.length === 0 ? "No group has read this topic there yet, and no rule names one." : lines.join("\n");
    byText.set(text, [...(byText.get(text) ?? []), broker]);
  }
  return [...byText].flatMap(([text, names]) => [
    `Such a message of topic ${topic} on broker${names.length === 1 ? "" : "s"} ${names.join(", ")}:`,
    ...text.split("\n"),
  ]);
}

function dated(event: ExplainedEvent): string {
  return `${new Date(event.atMs).toISOString()} ${eventText(event)}`;
}

/** What the message waits for. */
function stateText(group: ExplainedPlaceOfGroup): string {
  const { state, holder, attempt, leftMs, before = 0, ownerLane, baseLane } = group;
  const who = ownerLane === null || baseLane === null ? "" : ` ${whoGets(ownerLane, baseLane)}`;
  switch (state) {
    case "in flight":
      return `in flight at ${holder}, attempt ${attempt}; unless it is acknowledged within ${((leftMs ?? 0) / 1000).toFixed(1)} s it returns to lane ${ownerLane?.lane ?? "base"}.`;
    case "back":
      return `back after attempt ${attempt}, to be handed out again.${who}`;
    case "waits for its turn":
      return `it waits for its turn: an earlier message of its message group is out or comes first.${who}`;
    case "ahead":
      return before === 0
        ? `next in its queue.${who}`
        : `not reached yet: ${before} messages of its lane are before it in its queue.${who}`;
    case "dead":
      return `in the dead-letter queue of the group after attempt ${attempt}; popmesh dlq redrive brings it back.`;
    default:
      return "the group is done with it: acknowledged, or passed because a filter did not want it.";
  }
}
