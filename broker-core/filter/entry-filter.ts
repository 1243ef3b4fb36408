import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { LogReader } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { messageBodyStart, messageTagEquals } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import { type MessageFilter, mayMatch } from "./message-filter.ts";

/** What a scan has read from the log so far; one that has read too much goes on at the next turn. */
export interface ReadCount {
  reads: number;
  readBytes: number;
}

/**
 * Whether the message of an index entry passes the filter. A message that cannot be read counts as a match: it is handed out,
 * fails, and ends in the dead-letter queue where somebody sees it, instead of being passed over in silence (B10). One that a start
 * has found lost, and reported, matches nothing.
 */
export function entryMatches(
  queues: ConsumeQueueTable,
  log: LogReader,
  filter: MessageFilter,
  entry: number,
  count: ReadCount,
): boolean {
  if ((queues.flags(entry) & EntryFlag.Lost) !== 0) return false;
  if (filter.isAll) return true;
  if (!mayMatch(filter, queues.tagHash(entry))) return false;
  count.reads++;
  count.readBytes += queues.bytes(entry);
  try {
    const { body, start } = readStoredMessage(log, queues.position(entry));
    if (filter.sql !== undefined) return filter.sql.matchesMessage(body, messageBodyStart(body, start), body.length);
    for (const tag of filter.tags) {
      if (messageTagEquals(body, start, tag)) return true;
    }
    return false;
  } catch (error) {
    // MeshError: bytes that are no message. They were checked when they were stored.
    if (isUnreadable(error) || error instanceof MeshError) return true;
    throw error;
  }
}
