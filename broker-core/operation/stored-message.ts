import { type LogReader, RecordType } from "../commit-log/log.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageStoreMs } from "../record/message-record.ts";
import { StorageError } from "../storage/storage.ts";

/** Wall time at which the message behind an index entry came into its queue; undefined when its bytes are damaged. */
export function storeMsAt(log: LogReader, position: number): number | undefined {
  try {
    const record = log.read(position);
    if (record.type === RecordType.Message) return messageStoreMs(record.body, 0);
    if (record.type === RecordType.DeadLetter) return readDeadLetterRecord(record.body, 0, record.body.length).deadMs;
    return undefined;
  } catch (error) {
    if (error instanceof StorageError) return undefined;
    throw error;
  }
}
