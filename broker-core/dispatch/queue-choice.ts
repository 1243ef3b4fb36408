import { mix } from "../pop/slot-index.ts";

/** Queue of a message group: the same one as long as the number of queues is the same. */
export function queueOfGroup(groupHash: number, queueCount: number): number {
  return mix(groupHash, 0) % queueCount;
}
