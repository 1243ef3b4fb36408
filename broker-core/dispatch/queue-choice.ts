import { mix } from "../pop/slot-index.ts";
import type { TopicView } from "../topic/topic-view.ts";

/** Queue of a message group among those that take groups (`Topic.groupQueueCount`, which never changes): always the same. */
export function queueOfGroup(groupHash: number, queueCount: number): number {
  return mix(groupHash, 0) % queueCount;
}

/**
 * Queue of a priority: the higher, the later; what exceeds the queues shares the last one. Receives of a PRIORITY topic look at
 * the last queue first.
 */
export function queueOfPriority(priority: number, queueCount: number): number {
  return Math.min(Math.max(priority, 0), queueCount - 1);
}

/** Messages without a group go round the queues. */
export function nextQueueOf(topic: TopicView): number {
  const queueId = topic.nextQueue % topic.queues.length;
  topic.nextQueue = queueId + 1;
  return queueId;
}
