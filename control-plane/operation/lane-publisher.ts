import { Code } from "../../proto/code.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { CatalogChange } from "../catalog/catalog-table.ts";
import { type LaneRuleContext, takeBackLaneRule } from "../catalog/declare-lane-rule.ts";
import { endPublication, publishFirstTo, publishToAll } from "../catalog/publish-lane-rule.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import {
  brokerTargetKey,
  isMeantFor,
  type LaneOrder,
  type LaneRuleAtBroker,
  laneOrdersFor,
  rulesInList,
  topicOfRuleAt,
} from "./lane-order.ts";
import { publicationStep } from "./publication-step.ts";

/** How a rule stands at one broker that holds its topic. */
export interface LaneRuleStanding {
  readonly broker: string;
  /**
   * "in force": it has this generation; "pending": it was not told yet; "refused": it said no, see `reason`; "unanswered": it
   * cannot be asked, see `reason`; "ahead": it has a newer one than this control plane knows (a restored backup?).
   */
  readonly state: "in force" | "pending" | "refused" | "unanswered" | "ahead";
  /** Of this rule, as the broker said last; null: it has none, or has not said. */
  readonly generation: number | null;
  readonly reason?: string;
  /** All lanes are suspended there (kill switch), whatever is in force. */
  readonly lanes?: "off";
}

export interface LanePublisherDeps {
  readonly namespaceDefaults: NamespaceSpec;
  readonly catalog: Catalog;
  /** Calls a method of one broker; rejects with `MeshError`. */
  readonly call: (broker: string, method: string, parameters: object) => Promise<unknown>;
  readonly isAlive: (broker: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MetricRegistry;
}

/** Orders to one broker under way at once: they share its syncs. */
const ordersAtOnce = 32;
const retryMsMin = 500;
const retryMsMax = 30_000;

/**
 * Brings the lane rules of the catalog to the brokers that hold their topics, by operator calls: what has changed at once, and
 * everything anew when a broker registers or comes back. Generations make repetition harmless; what a broker has is asked
 * of it, never assumed. While this process is away brokers go on by what their logs say (L8).
 */
export class LanePublisher {
  readonly #deps: LanePublisherDeps;
  readonly #context: LaneRuleContext;
  readonly #brokers = new Map<string, BrokerRules>();
  /** Topics of the rules in force, by rule; both as "<namespace>/<name>". */
  readonly #topicOfRule = new Map<string, string>();
  /** How many rules a topic has. */
  readonly #ruleCounts = new Map<string, number>();
  #isClosed = false;

  constructor(deps: LanePublisherDeps) {
    this.#deps = deps;
    this.#context = {
      namespaceDefaults: deps.namespaceDefaults,
      generationSeen: (ruleKey) => this.generationSeen(ruleKey),
    };
    for (const rule of deps.catalog.tables.laneRule.values()) this.#noteRule(rule);
    deps.catalog.onChange((changes) => this.#changed(changes));
    deps.metrics.gaugeOf(
      "popmesh_control_plane_lane_rules_pending",
      "Lane rules that a broker which holds their topic does not have, over all brokers.",
      () => this.#pendingCount(),
    );
    deps.metrics.gaugeOf(
      "popmesh_control_plane_brokers_lanes_off",
      "Brokers that have said that all their lanes are suspended (popmesh lanes off).",
      () => [...deps.catalog.tables.broker.values()].filter(({ lanesOff }) => lanesOff === true).length,
    );
  }

  /** Asks all brokers what they have, and tells them what they lack; goes on with the versions that were on their way. */
  start(): void {
    this.#goOn();
    for (const name of this.#deps.catalog.tables.broker.keys()) this.#sync(name, true);
  }

  /** The broker's lease had lapsed and it is back. */
  cameBack(broker: string): void {
    this.#sync(broker, true);
    this.#goOn();
  }

  /** The broker's lease has lapsed: others get first what it should have got. */
  lapsed(): void {
    this.#goOn();
  }

  /** How a rule stands at the brokers that hold its topic, in order of their names. */
  standings(rule: LaneRuleRecord): LaneRuleStanding[] {
    const { tables } = this.#deps.catalog;
    return [...tables.broker.keys()]
      .filter((broker) => topicOfRuleAt(tables, broker, rule) !== undefined)
      .sort()
      .map((broker) => ({
        ...this.#standing(broker, rule),
        ...(tables.broker.get(broker)?.lanesOff === true ? { lanes: "off" as const } : {}),
      }));
  }

  /** Highest generation that a broker has of a rule ("<namespace>/<rule>"), as far as they were asked. */
  generationSeen(ruleKey: string): number {
    let highest = 0;
    for (const { seen } of this.#brokers.values()) highest = Math.max(highest, seen.get(ruleKey) ?? 0);
    return highest;
  }

  close(): void {
    this.#isClosed = true;
    for (const { retry } of this.#brokers.values()) retry?.cancel();
  }

  #changed(changes: readonly CatalogChange[]): void {
    let concernsAll = false;
    for (const { kind, key, record } of changes) {
      if (kind === "laneRule") {
        concernsAll = true;
        this.#forgetRule(key);
        if (record !== undefined) this.#noteRule(record);
      } else if (kind === "topic") {
        if (this.#ruleCounts.has(key)) concernsAll = true;
      } else if (kind === "broker") {
        // Another run of it may have another log.
        if (record === undefined) this.#forget(key);
        else this.#sync(key, true);
      }
    }
    if (changes.some(({ kind, record }) => kind === "lanePublication" && record !== undefined)) concernsAll = true;
    if (!concernsAll) return;
    for (const name of this.#deps.catalog.tables.broker.keys()) this.#sync(name, false);
  }

  /** Looks at each version on its way: whether the next brokers get it, or it is taken back. */
  #goOn(): void {
    if (this.#isClosed) return;
    const { catalog, isAlive, log } = this.#deps;
    const { tables } = catalog;
    for (const [key, publication] of tables.lanePublication) {
      const rule = tables.laneRule.get(key);
      const { generation } = publication;
      if (rule?.generation !== generation) continue;
      const next = publicationStep(publication, this.standings(rule), isAlive);
      if (next.step === "wait") continue;
      if (next.step === "roll back") {
        log.warn({ rule: key, generation, reason: next.reason }, "a version of a lane rule is taken back");
      }
      // A store that cannot be written ends the process; whoever is told of that is the catalog's owner.
      catalog
        .change("control-plane", (draft) => {
          if (next.step === "all") publishToAll(draft, key, generation);
          else if (next.step === "first") publishFirstTo(draft, key, generation, next.brokers);
          else if (next.step === "end") endPublication(draft, key, generation);
          else takeBackLaneRule(draft, key, generation, next.reason, this.#context);
        })
        .catch(() => {});
    }
  }

  #noteRule({ namespace, name, topic }: LaneRuleRecord): void {
    const topicKey = qualifiedName(namespace, topic);
    this.#topicOfRule.set(qualifiedName(namespace, name), topicKey);
    this.#ruleCounts.set(topicKey, (this.#ruleCounts.get(topicKey) ?? 0) + 1);
  }

  #forgetRule(key: string): void {
    const topicKey = this.#topicOfRule.get(key);
    if (topicKey === undefined) return;
    this.#topicOfRule.delete(key);
    const count = (this.#ruleCounts.get(topicKey) ?? 0) - 1;
    if (count > 0) this.#ruleCounts.set(topicKey, count);
    else this.#ruleCounts.delete(topicKey);
  }

  #forget(broker: string): void {
    this.#brokers.get(broker)?.retry?.cancel();
    this.#brokers.delete(broker);
  }

  /** `anew`: what it has must be asked again. */
  #sync(broker: string, anew: boolean): void {
    if (this.#isClosed) return;
    let rules = this.#brokers.get(broker);
    if (rules === undefined) {
      rules = new BrokerRules();
      this.#brokers.set(broker, rules);
    }
    if (anew) {
      rules.has = undefined;
      rules.refused.clear();
      rules.failures = 0;
    }
    rules.isDirty = true;
    if (!rules.isRunning) void this.#run(broker, rules);
  }

  async #run(broker: string, rules: BrokerRules): Promise<void> {
    const { catalog, log, clock } = this.#deps;
    rules.isRunning = true;
    rules.retry?.cancel();
    rules.retry = undefined;
    try {
      while (rules.isDirty && this.#isCurrent(broker, rules)) {
        if (catalog.tables.broker.get(broker)?.state === "stopped") break;
        rules.isDirty = false;
        await this.#tell(broker, rules);
        rules.failures = 0;
        rules.trouble = undefined;
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // What it did of the last orders is not known.
      rules.has = undefined;
      rules.isDirty = true;
      const delayMs = Math.min(retryMsMax, retryMsMin * 2 ** rules.failures++);
      // Once, not with every attempt.
      if (rules.trouble !== error.message) {
        log.warn({ broker, reason: error.message }, "lane rules cannot be brought to a broker now");
      }
      rules.trouble = error.message;
      // One whose lease lapsed is asked when it is back.
      if (this.#isCurrent(broker, rules) && this.#deps.isAlive(broker)) {
        rules.retry = clock.after(delayMs, () => {
          rules.retry = undefined;
          if (!rules.isRunning) void this.#run(broker, rules);
        });
      }
    } finally {
      rules.isRunning = false;
      this.#goOn();
    }
  }

  /** Throws `MeshError` when the broker cannot be asked. */
  async #tell(broker: string, rules: BrokerRules): Promise<void> {
    const { catalog, call, log } = this.#deps;
    const isFirst = rules.has === undefined;
    if (rules.has === undefined) {
      const listed = rulesInList(await call(broker, "lane.list", {}));
      rules.has = new Map(listed.map((at) => [brokerTargetKey(at), at]));
      for (const { name, generation } of listed) rules.see(name, generation);
    }
    const { withdrawals, rules: wanted, foreign } = laneOrdersFor(broker, catalog.tables, rules.has);
    for (const { topic, group, name } of isFirst ? foreign : []) {
      log.warn({ broker, topic, group, rule: name }, "a broker has a lane rule that this control plane does not know");
    }
    for (const orders of [withdrawals, wanted]) {
      const open = orders.filter(({ name, number }) => rules.refused.get(name)?.generation !== number);
      for (let at = 0; at < open.length; at += ordersAtOnce) {
        await Promise.all(open.slice(at, at + ordersAtOnce).map((order) => this.#give(broker, rules, order)));
      }
    }
  }

  async #give(broker: string, rules: BrokerRules, order: LaneOrder): Promise<void> {
    const { topic, group, name, number: generation, rule, opening } = order;
    const { has } = rules;
    try {
      await this.#deps.call(broker, "lane.rule", order);
    } catch (error) {
      // A full disk or a full window passes; a rule that does not fit will not.
      if (!(error instanceof MeshError) || !isForGood(error.code)) throw error;
      rules.refused.set(name, { generation, reason: error.message });
      this.#deps.log.warn({ broker, rule: name, generation, reason: error.message }, "a broker refused a lane rule");
      return;
    }
    rules.refused.delete(name);
    rules.see(name, generation);
    if (rule === null) has?.delete(brokerTargetKey(order));
    else has?.set(brokerTargetKey(order), { topic, group, name, generation, incarnation: opening?.incarnation ?? 0 });
  }

  /** Not forgotten, and not replaced by a broker of that name that came later. */
  #isCurrent(broker: string, rules: BrokerRules): boolean {
    return !this.#isClosed && this.#brokers.get(broker) === rules;
  }

  #standing(broker: string, rule: LaneRuleRecord): LaneRuleStanding {
    const name = qualifiedName(rule.namespace, rule.name);
    const rules = this.#brokers.get(broker);
    const target = brokerTargetKey({
      topic: qualifiedName(rule.namespace, rule.topic),
      group: rule.group === "" ? "" : qualifiedName(rule.namespace, rule.group),
    });
    const at = rules?.has?.get(target);
    const generation = at?.name === name ? at.generation : null;
    const refused = rules?.refused.get(name);
    if (generation === rule.generation) return { broker, state: "in force", generation };
    if (generation !== null && generation > rule.generation) return { broker, state: "ahead", generation };
    if (refused?.generation === rule.generation)
      return { broker, state: "refused", generation, reason: refused.reason };
    if (rules?.trouble !== undefined) return { broker, state: "unanswered", generation, reason: rules.trouble };
    const { tables } = this.#deps.catalog;
    if (!isMeantFor(broker, tables, rule)) {
      const first = tables.lanePublication.get(name)?.first.join(", ");
      return { broker, state: "pending", generation, reason: `it gets this version when ${first} have it` };
    }
    if (this.#deps.isAlive(broker)) return { broker, state: "pending", generation };
    const reason = `broker "${broker}" is not reachable; it gets the rule when it is back`;
    return { broker, state: "unanswered", generation, reason };
  }

  #pendingCount(): number {
    let count = 0;
    for (const rule of this.#deps.catalog.tables.laneRule.values()) {
      for (const { state } of this.standings(rule)) if (state !== "in force" && state !== "ahead") count++;
    }
    return count;
  }
}

/** Whether the same order would be refused again: codes 4xxxx say that the order is wrong. */
function isForGood(code: Code): boolean {
  return code >= 40_000 && code < 50_000 && code !== Code.TooManyRequests;
}

/** What is known of one broker. */
class BrokerRules {
  /** The rules it has, by `brokerTargetKey`; undefined: it must be asked. */
  has: Map<string, LaneRuleAtBroker> | undefined;
  /** Its last word on rules it did not take, by name. */
  readonly refused = new Map<string, { readonly generation: number; readonly reason: string }>();
  /** Highest generation it was ever seen with, by name. */
  readonly seen = new Map<string, number>();
  isDirty = false;
  isRunning = false;
  failures = 0;
  /** Why it could not be asked; undefined: it could. */
  trouble: string | undefined;
  retry: Timer | undefined;

  see(name: string, generation: number): void {
    this.seen.set(name, Math.max(this.seen.get(name) ?? 0, generation));
  }
}
