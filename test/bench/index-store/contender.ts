/** Entries of the consume queues are 24 bytes in all of them. */
export const entryBytes = 24;

/** A store of index entries, as far as the comparison needs it: queues are numbers from 0, offsets of each follow one another. */
export interface IndexStore {
  readonly name: string;
  /** The next entry of a queue; its first number is `position`. */
  append(queue: number, position: number): void;
  /** The end of a turn of the event loop: what was appended may be written now. */
  turn(): Promise<void> | undefined;
  /** Everything is on disk. */
  flush(): Promise<void>;
  /** Sum of the positions of the entries `[from, from + count)` of a queue. */
  sum(queue: number, from: number, count: number): number;
  close(): Promise<void>;
}

/** Opens the store in a directory: an empty one, or what an earlier `close` left there. */
export type OpenStore = (directory: string, queueCount: number) => IndexStore | Promise<IndexStore>;
