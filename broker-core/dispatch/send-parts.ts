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
  /** Number of the outcome of the lane rules. */
  readonly lane: number;
  /** Place of the copy; topic id 0: there is none. */
  readonly mirrorTopicId: number;
  readonly mirrorQueueId: number;
  readonly mirrorOffset: number;
}

/**
 * The messages of a send of several, until its last record comes: only then they are in their queue, all at once. Their records
 * follow each other without anything between; whatever else comes first says that the rest was lost, in a crash or for lack of
 * room, and that the send never was. Where a lost part of the log comes first nobody knows; what is stored in the queue later
 * tells (`isolate`).
 */
export class SendParts {
  #parts: SendPartEntry[] = [];
  /** Sends whose last record may be lost. */
  readonly #cut: (readonly SendPartEntry[])[] = [];

  /** True when the send is whole now. `mayLack`: what came before may be lost. */
  add(
    sendPart: number,
    position: number,
    topicId: number,
    queueId: number,
    offset: number,
    messageBytes: number,
    tagHash: number,
    groupHash: number,
    lane: number,
    mirrorTopicId: number,
    mirrorQueueId: number,
    mirrorOffset: number,
    mayLack: boolean,
  ): boolean {
    if ((sendPart & SendPart.GoesOn) === 0) this.forget();
    else if (!this.#isContinued(topicId, queueId, offset)) {
      if (!mayLack) throw new RecordFault(`log position ${position} goes on with a send that has no beginning`);
      this.forget();
    }
    this.#parts.push({
      ...{ position, topicId, queueId, offset, messageBytes, tagHash, groupHash, lane },
      ...{ mirrorTopicId, mirrorQueueId, mirrorOffset },
    });
    return (sendPart & SendPart.MoreFollow) === 0;
  }

  take(each: (part: SendPartEntry) => void): void {
    for (const part of this.#parts) each(part);
    this.forget();
  }

  forget(): void {
    if (this.#parts.length > 0) this.#parts = [];
  }

  /** A part of the log is lost: whether the send had its last record there is to be seen. */
  isolate(): void {
    if (this.#parts.length > 0) this.#cut.push(this.#parts);
    this.#parts = [];
  }

  /**
   * A record speaks of an offset of this queue, `isNext`: as that of its next message. Where its offsets were given out to a send
   * that was cut, that send was whole, and `each` gets its messages; where they are given out again, it never was.
   */
  judge(topicId: number, queueId: number, offset: number, isNext: boolean, each: (part: SendPartEntry) => void): void {
    for (let i = 0; i < this.#cut.length; i++) {
      const parts = this.#cut[i]!;
      const [first] = parts;
      if (first?.topicId !== topicId || first.queueId !== queueId || offset < first.offset) continue;
      this.#cut.splice(i--, 1);
      if (!isNext || offset > parts.at(-1)!.offset) for (const part of parts) each(part);
    }
  }

  /** Nothing follows that could tell: better twice than lost. */
  judgeAll(each: (part: SendPartEntry) => void): void {
    for (const parts of this.#cut.splice(0)) for (const part of parts) each(part);
  }

  #isContinued(topicId: number, queueId: number, offset: number): boolean {
    const last = this.#parts.at(-1);
    return last?.topicId === topicId && last.queueId === queueId && last.offset + 1 === offset;
  }
}
