import type { MessageScan } from "../../proto/codec/message-scan.ts";
import { CompiledLaneRule, noClause } from "../../proto/lane/lane-classifier.ts";
import { baseLane, type LaneRule } from "../../proto/lane/lane-rule.ts";
import { MirrorShare } from "../../proto/lane/mirror-share.ts";

/** The name of the group in a rule that is for every group without a rule of its own. */
export const everyGroup = "";

/** A lane rule of a topic, as it was set. */
export class GroupLaneRule {
  /** "<namespace>/<group>", or `everyGroup`. */
  readonly group: string;
  /** Name of the rule: for people. */
  readonly name: string;
  /** Generation that the control plane gave it; rises per topic and group. */
  readonly number: number;
  readonly compiled: CompiledLaneRule;
  /** The lanes that it names; the base lane is the first, named or not. */
  readonly lanes: readonly string[];
  /** By clause: index in `lanes`. */
  readonly #laneOfClause: Uint8Array;

  /** Throws `LaneRuleFault`. */
  constructor(group: string, name: string, number: number, rule: LaneRule) {
    this.group = group;
    this.name = name;
    this.number = number;
    this.compiled = new CompiledLaneRule(rule);
    this.lanes = [...new Set([baseLane, ...rule.clauses.map(({ to }) => to)])];
    this.#laneOfClause = Uint8Array.from(rule.clauses, ({ to }) => this.lanes.indexOf(to));
  }

  get rule(): LaneRule {
    return this.compiled.rule;
  }

  /** Index in `lanes` of the lane that handles a message. */
  laneIndex(scan: MessageScan, laneMark: string): number {
    const clause = this.compiled.classify(scan, laneMark);
    return clause === noClause ? 0 : this.#laneOfClause[clause]!;
  }
}

/**
 * The lane rules of one topic that are in force from one log position to the next such set. What they say of a message is one number,
 * the *lane key*: for each rule, in the order of `rules`, the index of the lane, as digits of a number in mixed radix. The key of a
 * message that all rules leave to the base lane is 0.
 */
export class LaneRuleSet {
  /** Of the LaneRule record that made it. */
  readonly position: number;
  /** By group name: at most one for each. */
  readonly rules: readonly GroupLaneRule[];
  /** Lane keys are below. */
  readonly keyCount: number;
  /** False: lane marks decide alone. */
  readonly looksAtMessages: boolean;
  /** A share of the topic's messages is copied; at most one rule of a topic says so. */
  readonly mirror: MirrorShare | undefined;

  constructor(position: number, rules: readonly GroupLaneRule[]) {
    this.position = position;
    this.rules = [...rules].sort((a, b) => (a.group < b.group ? -1 : 1));
    this.keyCount = keyCountOf(this.rules);
    const mirrored = rules.find(({ rule }) => rule.mirror !== undefined)?.rule.mirror;
    this.mirror = mirrored === undefined ? undefined : new MirrorShare(mirrored);
    this.looksAtMessages = rules.some(({ compiled }) => compiled.looksAtMessage);
  }

  keyOf(scan: MessageScan, laneMark: string): number {
    let key = 0;
    for (const rule of this.rules) key = key * rule.lanes.length + rule.laneIndex(scan, laneMark);
    return key;
  }

  /** The rule that is in force for a group: its own, or the one for every group. */
  ruleFor(group: string): GroupLaneRule | undefined {
    return this.#own(group) ?? this.#own(everyGroup);
  }

  /** The lane that handles messages of a lane key at a group. */
  laneOf(key: number, group: string): string {
    const wanted = this.ruleFor(group);
    let left = key;
    for (let i = this.rules.length - 1; i >= 0; i--) {
      const rule = this.rules[i]!;
      if (rule === wanted) return rule.lanes[left % rule.lanes.length]!;
      left = Math.floor(left / rule.lanes.length);
    }
    return baseLane;
  }

  #own(group: string): GroupLaneRule | undefined {
    return this.rules.find((rule) => rule.group === group);
  }
}

/** How many lane keys such a set of rules has. */
export function keyCountOf(rules: readonly GroupLaneRule[]): number {
  return rules.reduce((count, { lanes }) => count * lanes.length, 1);
}
