import { type LogRecord, RecordType } from "../commit-log/log.ts";
import { messageIsMirrored, messageOffset, messageQueueId, messageTopicId, mirrorOffset } from "./message-record.ts";
import { releaseMirror, releaseOffset, releaseQueueId, releaseTopicId } from "./release-record.ts";

/** The message that a copy is of, and the copy's own offset. */
export interface CopyOrigin {
  readonly topicId: number;
  readonly queueId: number;
  readonly offset: number;
  readonly copyOffset: number;
}

/**
 * A record with a copy is read for two topics: for that of the message, and for the one of its copy. Undefined: for topic `topicId` it is
 * no copy.
 */
export function originOfCopy({ type, body }: LogRecord, topicId: number): CopyOrigin | undefined {
  if (type === RecordType.Message) {
    const origin = messageTopicId(body, 0);
    if (origin === topicId || !messageIsMirrored(body, 0)) return undefined;
    return {
      topicId: origin,
      queueId: messageQueueId(body, 0),
      offset: messageOffset(body, 0),
      copyOffset: mirrorOffset(body, 0),
    };
  }
  if (type !== RecordType.Commit && type !== RecordType.Due) return undefined;
  const origin = releaseTopicId(body, 0);
  const copy = origin === topicId ? undefined : releaseMirror(body, 0);
  if (copy === undefined) return undefined;
  return {
    topicId: origin,
    queueId: releaseQueueId(body, 0),
    offset: releaseOffset(body, 0),
    copyOffset: copy.offset,
  };
}

/** As consumers of a copy are told: "<namespace>/<topic>/<queue>/<offset>". */
export function originText(topicName: string, { queueId, offset }: Pick<CopyOrigin, "queueId" | "offset">): string {
  return `${topicName}/${queueId}/${offset}`;
}
