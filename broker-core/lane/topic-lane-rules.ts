import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { GroupLaneRule, keyCountOf, LaneRuleSet } from "./lane-rule-set.ts";
import { laneRuleText, readLaneRule } from "./lane-rule-shape.ts";
import { LaneSwitch } from "./lane-switch.ts";

/** Numbers of outcomes of one topic: an index entry has 16 bits for them, and 0 says that no rule was in force. */
export const outcomesMax = 65_535;

/** What the rules of a topic made of some of its messages. */
export interface LaneOutcome {
  readonly set: LaneRuleSet;
  readonly key: number;
}

/** The lane rules of one topic: those in force, and those by which messages were classified that are still in its queues. */
export class TopicLaneRules {
  /** In the order of their positions; the last one is in force. Never empty. */
  #sets: LaneRuleSet[];
  /** By number - 1. */
  #outcomes: (LaneOutcome | undefined)[] = [];
  #count = 0;
  /** By set and key: the number. */
  readonly #numbers = new Map<LaneRuleSet, Map<number, number>>();
  /** Those of the set that was asked for last. */
  #lastSet: LaneRuleSet | undefined = undefined;
  #lastNumbers = new Map<number, number>();
  /** Generation of the last rule of each group, withdrawn ones too: an older one never comes back. */
  readonly #numberOfGroup = new Map<string, number>();
  /** Rises when what a number means may have changed: for those who keep it (subscription-lanes.ts). */
  changes = 0;

  /** Of the broker. */
  readonly lanes: LaneSwitch;

  constructor(sets: LaneRuleSet[] = [new LaneRuleSet(-1, [])], lanes = new LaneSwitch()) {
    this.#sets = sets;
    this.lanes = lanes;
  }

  /** Rules that messages are classified by now. */
  get current(): LaneRuleSet {
    return this.#sets.at(-1)!;
  }

  /** Sets that are kept, the one in force among them. */
  get sets(): readonly LaneRuleSet[] {
    return this.#sets;
  }

  /** Outcomes in use. */
  get outcomeCount(): number {
    return this.#count;
  }

  /** Nothing is in force, and no message was classified. */
  get isAtRest(): boolean {
    return this.#sets.length === 1 && this.current.rules.length === 0;
  }

  /** Generation of the last rule for exactly this group; -1: there never was one. */
  numberFor(group: string): number {
    return this.#numberOfGroup.get(group) ?? -1;
  }

  /** Rules in force, were this one set (or withdrawn, when undefined). */
  with(group: string, rule: GroupLaneRule | undefined): GroupLaneRule[] {
    const others = this.current.rules.filter((other) => other.group !== group);
    return rule === undefined ? others : [...others, rule];
  }

  /** Whether every message could still get a number if these rules were in force. */
  fits(rules: readonly GroupLaneRule[]): boolean {
    return this.#count + keyCountOf(rules) <= outcomesMax;
  }

  /** A rule comes into force, or goes (undefined). */
  set(position: number, group: string, number: number, rule: GroupLaneRule | undefined): void {
    this.#sets.push(new LaneRuleSet(position, this.with(group, rule)));
    this.#numberOfGroup.set(group, number);
    this.changes++;
  }

  /** The set that was in force for a record at a log position. */
  setAt(position: number): LaneRuleSet | undefined {
    for (let i = this.#sets.length - 1; i >= 0; i--) {
      if (this.#sets[i]!.position < position) return this.#sets[i];
    }
    return undefined;
  }

  /** Number of an outcome; a new one gets the smallest that is free. 0: no rule is in force in this set. */
  numberOf(set: LaneRuleSet, key: number): number {
    if (set.rules.length === 0) return 0;
    const numbers = set === this.#lastSet ? this.#lastNumbers : this.#numbersOf(set);
    const known = numbers.get(key);
    if (known !== undefined) return known;
    let at = this.#outcomes.length;
    if (this.#count < at) at = this.#outcomes.indexOf(undefined);
    // Cannot be as long as `fits` was asked before each rule; a log with lost rules may do it.
    if (at >= outcomesMax) return 0;
    this.#outcomes[at] = { set, key };
    this.#count++;
    numbers.set(key, at + 1);
    return at + 1;
  }

  #numbersOf(set: LaneRuleSet): Map<number, number> {
    let numbers = this.#numbers.get(set);
    if (numbers === undefined) this.#numbers.set(set, (numbers = new Map()));
    this.#lastSet = set;
    this.#lastNumbers = numbers;
    return numbers;
  }

  outcome(number: number): LaneOutcome | undefined {
    return this.#outcomes[number - 1];
  }

  /** The log begins at `position`: sets that ended before, and what they made of messages, are of no use any more. */
  trim(position: number): void {
    while (this.#sets.length > 1 && this.#sets[1]!.position <= position) {
      const gone = this.#sets.shift()!;
      for (const number of this.#numbers.get(gone)?.values() ?? []) {
        this.#outcomes[number - 1] = undefined;
        this.#count--;
      }
      this.#numbers.delete(gone);
      if (gone === this.#lastSet) this.#lastSet = undefined;
      this.changes++;
    }
    while (this.#outcomes.length > 0 && this.#outcomes.at(-1) === undefined) this.#outcomes.pop();
  }

  writeTo(into: ImageWriter): void {
    into.u32(this.#sets.length);
    for (const { position, rules } of this.#sets) {
      into.f64(position);
      into.u32(rules.length);
      for (const { group, name, number, rule } of rules) {
        into.text(group);
        into.text(name);
        into.f64(number);
        into.text(laneRuleText(rule));
      }
    }
    into.u32(this.#outcomes.length);
    for (const outcome of this.#outcomes) {
      into.u32(outcome === undefined ? noSet : this.#sets.indexOf(outcome.set));
      into.u32(outcome?.key ?? 0);
    }
    const groups = [...this.#numberOfGroup].sort(([a], [b]) => (a < b ? -1 : 1));
    into.u32(groups.length);
    for (const [group, number] of groups) {
      into.text(group);
      into.f64(number);
    }
  }

  static readFrom(from: ImageReader, lanes: LaneSwitch): TopicLaneRules {
    const sets: LaneRuleSet[] = [];
    // What several sets share is compiled once.
    const known = new Map<string, GroupLaneRule>();
    for (let left = from.u32(); left > 0; left--) {
      const position = from.f64();
      const rules: GroupLaneRule[] = [];
      for (let count = from.u32(); count > 0; count--) rules.push(readRule(from, known));
      sets.push(new LaneRuleSet(position, rules));
    }
    const read = new TopicLaneRules(sets, lanes);
    for (let at = 0, end = from.u32(); at < end; at++) {
      const set = sets[from.u32()];
      const key = from.u32();
      if (set === undefined) {
        read.#outcomes[at] = undefined;
        continue;
      }
      read.#outcomes[at] = { set, key };
      read.#count++;
      read.#numbersOf(set).set(key, at + 1);
    }
    for (let left = from.u32(); left > 0; left--) read.#numberOfGroup.set(from.text(), from.f64());
    return read;
  }
}

const noSet = 0xffff_ffff;

function readRule(from: ImageReader, known: Map<string, GroupLaneRule>): GroupLaneRule {
  const group = from.text();
  const name = from.text();
  const number = from.f64();
  const text = from.text();
  const id = JSON.stringify([group, name, number, text]);
  const rule = known.get(id) ?? new GroupLaneRule(group, name, number, readLaneRule(text));
  known.set(id, rule);
  return rule;
}
