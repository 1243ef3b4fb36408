/**
 * An index entry: 24 bytes, the same in memory and on disk.
 *
 *     0  f64 log position
 *     8  u32 bytes of the client's message
 *     12 u32 hash of the tag
 *     16 u32 hash of the message group
 *     20 u16 lane
 *     22 u16 flags (`EntryFlag`)
 */
export const entryBytes = 24;

export const EntryFlag = {
  /** The position is that of a DeadLetter record, which points at the message. */
  DeadLetter: 1,
  /** The position is that of a Commit or Due record, which points at the message or carries it. */
  Reference: 2,
  /** The message is lost with a damaged part of the log: the offset stays taken, and nobody gets anything for it. */
  Lost: 4,
  /** The copy of a message of another topic: the record at the position made that visible, and tells the copy's place too. */
  Mirror: 8,
} as const;

/** Entries of the largest block: 6 KiB on disk. */
export const blockEntriesMax = 256;
