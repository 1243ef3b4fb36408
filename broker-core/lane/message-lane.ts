import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { messageBodyStart, messageLaneMark } from "../record/message-record.ts";
import type { LaneRuleSet } from "./lane-rule-set.ts";
import type { TopicLaneRules } from "./topic-lane-rules.ts";

const scan = new MessageScan();

/** Lane key of the message record at `bytes[start, end)` by the rules of a set. */
export function laneKeyOfRecord(set: LaneRuleSet, bytes: Buffer, start: number, end: number): number {
  if (set.rules.length === 0) return 0;
  const laneMark = messageLaneMark(bytes, start);
  if (!set.looksAtMessages) return set.keyOf(scan, laneMark);
  try {
    scanMessage(bytes, messageBodyStart(bytes, start), end, scan);
  } catch (error) {
    // Bytes that are no message; they were checked when they came. What cannot be read is of no lane (L8).
    if (error instanceof MeshError) return 0;
    throw error;
  }
  return set.keyOf(scan, laneMark);
}

/** Number of the outcome for the same, by a set of a topic's rules. */
export function outcomeOf(rules: TopicLaneRules, set: LaneRuleSet, bytes: Buffer, start: number, end: number): number {
  return set.rules.length === 0 ? 0 : rules.numberOf(set, laneKeyOfRecord(set, bytes, start, end));
}
