import { processingBucket, processingBucketCount } from "../../proto/lane/processing-bucket.ts";

const deliveriesAt = 0;
const acksAt = 1;
const failuresAt = 2;
const deadLettersAt = 3;
const processingMsAt = 4;
const bucketsAt = 5;
const rowLength = bucketsAt + processingBucketCount;

/** What became of what the consumers of one lane were handed, since the run began or the lane came. Everything only grows. */
export interface LaneCounts {
  /** Messages handed out, each redelivery anew. */
  readonly deliveries: number;
  readonly acks: number;
  /** Hand-outs that ended without an ack: given back by the consumer, expired, or given up to the dead-letter queue. */
  readonly failures: number;
  /** Messages that went to the dead-letter queue from this lane's hands. */
  readonly deadLetters: number;
  /** Of acks whose hand-out this run saw: milliseconds from hand-out to ack, all together. */
  readonly processingMs: number;
  /** The same by bucket (proto/lane/processing-bucket.ts); zeros at the end are left out. */
  readonly buckets: readonly number[];
}

/**
 * Outcomes of the lanes of one group in one topic, by number of the lane whose *consumers* had the messages: a message of a spilled
 * lane that base handles is base's outcome, because it tells how good base's consumers are. Figures of the run: in no image, not
 * replayed. One row of numbers for each lane; counting makes no objects.
 */
export class LaneOutcomes {
  #rows = new Float64Array(2 * rowLength);

  delivered(laneNumber: number, count: number): void {
    this.#add(laneNumber, deliveriesAt, count);
  }

  /** `processingMs`: from hand-out to ack; NaN: not known. */
  acked(laneNumber: number, processingMs: number): void {
    this.#add(laneNumber, acksAt, 1);
    if (!(processingMs >= 0)) return;
    this.#add(laneNumber, processingMsAt, processingMs);
    this.#add(laneNumber, bucketsAt + processingBucket(processingMs), 1);
  }

  failed(laneNumber: number): void {
    this.#add(laneNumber, failuresAt, 1);
  }

  died(laneNumber: number): void {
    this.#add(laneNumber, deadLettersAt, 1);
  }

  /** A new lane has this number. */
  begin(laneNumber: number): void {
    this.#rows.fill(0, laneNumber * rowLength, (laneNumber + 1) * rowLength);
  }

  counts(laneNumber: number): LaneCounts {
    const start = laneNumber * rowLength;
    const at = (field: number): number => this.#rows[start + field] ?? 0;
    let bucketCount = processingBucketCount;
    while (bucketCount > 0 && at(bucketsAt + bucketCount - 1) === 0) bucketCount--;
    return {
      deliveries: at(deliveriesAt),
      acks: at(acksAt),
      failures: at(failuresAt),
      deadLetters: at(deadLettersAt),
      processingMs: at(processingMsAt),
      buckets: Array.from({ length: bucketCount }, (_, bucket) => at(bucketsAt + bucket)),
    };
  }

  #add(laneNumber: number, field: number, count: number): void {
    const at = laneNumber * rowLength + field;
    if (at >= this.#rows.length) {
      const wider = new Float64Array(Math.max(this.#rows.length * 2, (laneNumber + 1) * rowLength));
      wider.set(this.#rows);
      this.#rows = wider;
    }
    this.#rows[at]! += count;
  }
}
