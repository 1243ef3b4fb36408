import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import type { MirrorShare } from "../../proto/lane/mirror-share.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { isLiteParent } from "../lite/lite-name.ts";
import { messageBodyStart, messageGroupHash } from "../record/message-record.ts";
import type { MirrorPlace } from "../record/mirror-place.ts";
import { fifoBit, isPriorityTopic, type Topic } from "../topic/topic.ts";
import type { TopicView } from "../topic/topic-view.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { nextQueueOf, queueOfGroup, queueOfPriority } from "./queue-choice.ts";

/** MessageType NORMAL of apache.rocketmq.v2, as a bit of `messageTypes`. */
const normalBit = 1 << 1;

const scan = new MessageScan();

/**
 * The topic that gets a copy of the client's message at `bytes[start, end)`, which comes into topic `topicId` now; undefined where the
 * rule wants none of it, or there can be none. What the shadow topic is, or that it is not here, is nothing to the message itself.
 */
export function shadowOf(
  { topics }: BrokerTables,
  topicId: number,
  mirror: MirrorShare,
  groupHash: number,
  bytes: Buffer,
  start: number,
  end: number,
): Topic | undefined {
  const shadow = topics.byName(mirror.topic);
  if (shadow === undefined || shadow.id === topicId || !takesCopies(shadow, groupHash)) return undefined;
  if (!mirror.looksAtMessage) return shadow;
  return canScan(bytes, start, end) && mirror.takes(scan) ? shadow : undefined;
}

/** Queue of a copy: as one of the shadow topic's own messages gets it. */
export function queueOfCopy(shadow: Topic, groupHash: number, priority: number): number {
  if (isPriorityTopic(shadow.messageTypes)) return queueOfPriority(priority, shadow.queues.length);
  return groupHash === 0 ? nextQueueOf(shadow) : queueOfGroup(groupHash, shadow.groupQueueCount);
}

/**
 * The place of the copy of a message that was stored unseen and becomes visible in `topic` now, at its time or with its transaction;
 * undefined: it has none. `bytes[start, end)` is its message record.
 */
export function placeOfCopy(
  tables: BrokerTables,
  topic: Topic,
  bytes: Buffer,
  start: number,
  end: number,
): MirrorPlace | undefined {
  const mirror = topic.laneRules?.current.mirror;
  if (mirror === undefined) return undefined;
  const groupHash = messageGroupHash(bytes, start);
  const bodyStart = messageBodyStart(bytes, start);
  const shadow = shadowOf(tables, topic.id, mirror, groupHash, bytes, bodyStart, end);
  if (shadow === undefined) return undefined;
  const isByPriority = isPriorityTopic(shadow.messageTypes) && canScan(bytes, bodyStart, end);
  const queueId = queueOfCopy(shadow, groupHash, isByPriority ? scan.priority : 0);
  return { topicId: shadow.id, queueId, offset: tables.queues.endOffset(shadow.queues[queueId]!) };
}

/** Messages of any kind are copied as ordinary ones, of a message group or of none, or as such of their priority. */
function takesCopies({ messageTypes }: TopicView, groupHash: number): boolean {
  if (isLiteParent(messageTypes)) return false;
  if (isPriorityTopic(messageTypes)) return groupHash === 0;
  return (messageTypes & (groupHash === 0 ? normalBit : fifoBit)) !== 0;
}

/** Fills `scan`. False: the bytes are no message. They were checked when they came. */
function canScan(bytes: Buffer, start: number, end: number): boolean {
  try {
    scanMessage(bytes, start, end, scan);
    return true;
  } catch (error) {
    if (error instanceof MeshError) return false;
    throw error;
  }
}
