import { SendPart } from "../record/message-record.ts";
import { RecordFault } from "../record/record-fault.ts";

/** A message of a send of several that waits for the last one. */
export interface SendPartEntry {
  readonly position: number;
  readonly topicId: number;
  readonly queueId: number;
  readonly offset: number;
  readonly messageBytes: number;
  readonly tagHash: number;
  readonly groupHash: number;
}

/**
 * The messages of a send of several, until its last record comes: only then they are in their queue, all at once. Their records
 * follow each other without anything between; whatever else comes first says that the rest was lost, in a crash or for lack of
 * room, and that the send never was.
 */
export class SendParts {
  #parts: SendPartEntry[] = [];

  /** True when the send is whole now. */
  add(
    sendPart: number,
    position: number,
    topicId: number,
    queueId: number,
    offset: number,
    messageBytes: number,
    tagHash: number,
    groupHash: number,
  ): boolean {
    if ((sendPart & SendPart.GoesOn) === 0) this.forget();
    else if (!this.#isContinued(topicId, queueId, offset)) {
      throw new RecordFault(`log position ${position} goes on with a send that has no beginning`);
    }
    this.#parts.push({ position, topicId, queueId, offset, messageBytes, tagHash, groupHash });
    return (sendPart & SendPart.MoreFollow) === 0;
  }

  take(each: (part: SendPartEntry) => void): void {
    for (const part of this.#parts) each(part);
    this.forget();
  }

  forget(): void {
    if (this.#parts.length > 0) this.#parts = [];
  }

  #isContinued(topicId: number, queueId: number, offset: number): boolean {
    const last = this.#parts.at(-1);
    return last?.topicId === topicId && last.queueId === queueId && last.offset + 1 === offset;
  }
}
