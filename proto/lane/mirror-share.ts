import type { MessageScan } from "../codec/message-scan.ts";
import { bucketCount, bucketsOf, laneSalt } from "./lane-bucket.ts";
import { messageBucket } from "./lane-classifier.ts";
import type { Mirror } from "./lane-rule.ts";

/** The share of a topic's messages that is copied to another topic: by message group, else first key, else id, as shares of lanes. */
export class MirrorShare {
  /** "<namespace>/<topic>". */
  readonly topic: string;
  readonly #buckets: number;
  readonly #salt: number;

  constructor({ topic, percent }: Mirror) {
    this.topic = topic;
    this.#buckets = bucketsOf(percent ?? 100);
    // Its own buckets: who is in a lane says nothing of who is copied.
    this.#salt = laneSalt(`mirror ${topic}`);
  }

  /** False: all are copied, and messages need not be looked at. */
  get looksAtMessage(): boolean {
    return this.#buckets < bucketCount;
  }

  takes(scan: MessageScan): boolean {
    return !this.looksAtMessage || messageBucket(scan, this.#salt) < this.#buckets;
  }
}
