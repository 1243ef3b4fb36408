import type { MessageScan } from "../../proto/codec/message-scan.ts";
import { hashBytes } from "../consume-queue/text-hash.ts";
import type { MessageFacts } from "../record/message-record.ts";

/** Longest tag, message group and id that a message record can point at. The sidecar's limits are far below. */
export const factBytesMax = 65_535;

export const messageFactsBlank = (): MessageFacts => ({
  tagHash: 0,
  tagStart: 0,
  tagLength: 0,
  groupHash: 0,
  groupStart: 0,
  groupLength: 0,
  idStart: 0,
  idLength: 0,
  messageType: 0,
  sendPart: 0,
  priority: 0,
  isTimed: false,
  deliveryMs: 0,
  recoveryMs: 0,
  hasLiteTopic: false,
  mirrorTopicId: 0,
  mirrorQueueId: 0,
  mirrorOffset: 0,
});

/** Takes from a scan what the record keeps; ranges become relative to the message. An empty tag or group is none. */
export function readMessageFacts(scan: MessageScan, into: MessageFacts): void {
  into.tagLength = scan.tagEnd - scan.tagStart;
  into.tagStart = into.tagLength === 0 ? 0 : scan.tagStart - scan.start;
  into.tagHash = into.tagLength === 0 ? 0 : hashBytes(scan.bytes, scan.tagStart, scan.tagEnd);
  into.groupLength = scan.messageGroupEnd - scan.messageGroupStart;
  into.groupStart = into.groupLength === 0 ? 0 : scan.messageGroupStart - scan.start;
  into.groupHash = into.groupLength === 0 ? 0 : hashBytes(scan.bytes, scan.messageGroupStart, scan.messageGroupEnd);
  into.idLength = scan.messageIdEnd - scan.messageIdStart;
  into.idStart = into.idLength === 0 ? 0 : scan.messageIdStart - scan.start;
  into.messageType = scan.messageType;
  into.sendPart = 0;
  into.priority = scan.priority;
  into.isTimed = scan.hasDeliveryTimestamp;
  into.deliveryMs = scan.hasDeliveryTimestamp ? scan.deliveryMs : 0;
  into.recoveryMs = scan.hasRecoveryDuration ? Math.max(0, Math.floor(scan.recoveryMs)) : 0;
  into.mirrorTopicId = 0;
  into.hasLiteTopic = scan.liteTopicEnd > scan.liteTopicStart;
}
