import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { LaneSwitch } from "./lane-switch.ts";
import { TopicLaneRules } from "./topic-lane-rules.ts";

/** The lane rules of all topics that have some, or had some that messages in their queues were classified by. */
export class LaneRuleTable {
  readonly lanes = new LaneSwitch();
  readonly #byTopic = new Map<number, TopicLaneRules>();

  of(topicId: number): TopicLaneRules | undefined {
    return this.#byTopic.size === 0 ? undefined : this.#byTopic.get(topicId);
  }

  add(topicId: number): TopicLaneRules {
    const rules = new TopicLaneRules(undefined, this.lanes);
    this.#byTopic.set(topicId, rules);
    return rules;
  }

  remove(topicId: number): void {
    this.#byTopic.delete(topicId);
  }

  /** By topic id. */
  all(): (readonly [topicId: number, rules: TopicLaneRules])[] {
    return [...this.#byTopic].sort(([a], [b]) => a - b);
  }

  /** The log begins there now. */
  trim(position: number): void {
    for (const rules of this.#byTopic.values()) rules.trim(position);
  }

  writeTo(into: ImageWriter): void {
    this.lanes.writeTo(into);
    const all = this.all();
    into.u32(all.length);
    for (const [topicId, rules] of all) {
      into.u32(topicId);
      rules.writeTo(into);
    }
  }

  readFrom(from: ImageReader): void {
    this.lanes.readFrom(from);
    for (let left = from.u32(); left > 0; left--) {
      const topicId = from.u32();
      this.#byTopic.set(topicId, TopicLaneRules.readFrom(from, this.lanes));
    }
  }
}
