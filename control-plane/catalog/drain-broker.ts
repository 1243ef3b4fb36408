import { qualifiedName } from "../../proto/resource-name.ts";
import { brokersLacking, placeable, placeWanting } from "./broker-choice.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import {
  changeTopicsOf,
  nextSpreadNumber,
  withBrokerDraining,
  withBrokerOpen,
  withGroupsGone,
} from "./topic-placement.ts";

/** What became of the wish to drain a broker. */
export type Drained =
  /** `topics` are on it; those that were nowhere else have other brokers now. */
  | { readonly outcome: "draining" | "unchanged"; readonly topics: number }
  | { readonly outcome: "absent" }
  /** Nobody could take its topics. */
  | { readonly outcome: "alone"; readonly topics: number };

/**
 * A broker shall go: it gets no new messages, its backlog is consumed, and message groups move on as soon as nothing of them is left there
 * (broker-core/dispatch/decisions/2026-11-26-draining-a-broker.md). `patienceMs`: how long message groups that always have messages left there may
 * have new ones.
 */
export function drainBroker(draft: CatalogDraft, name: string, patienceMs: number): Drained {
  const broker = draft.get("broker", name);
  if (broker === undefined) return { outcome: "absent" };
  const topics = draft.keys("topic").filter((key) => draft.get("topic", key)?.placement.includes(name)).length;
  if (broker.drain !== undefined) {
    draft.put("broker", name, { ...broker, drain: { ...broker.drain, patienceMs } });
    return { outcome: "unchanged", topics };
  }
  const others = placeable(draft).filter((other) => other !== name && draft.isAlive(other));
  if (topics > 0 && others.length === 0) return { outcome: "alone", topics };
  const groupSpread = nextSpreadNumber(draft);
  const drain = { sinceMs: draft.nowMs, by: draft.by, patienceMs, groupSpread, isDone: false };
  draft.put("broker", name, { ...broker, drain });
  changeTopicsOf(draft, name, (topic) => {
    const closed = [...(topic.closed ?? []), name];
    const isHeld = topic.placement.some((other) => !closed.includes(other) && others.includes(other));
    const key = qualifiedName(topic.namespace, topic.name);
    const all = topic.brokers === undefined && !isHeld ? others : [];
    const heirs = [...all, ...brokersLacking(key, { ...topic, closed }, others)];
    return withBrokerDraining(topic, name, heirs, groupSpread);
  });
  return { outcome: "draining", topics };
}

/**
 * The broker takes new messages again; false: it was not drained. Message groups that have messages elsewhere stay there until those are
 * consumed.
 */
export function undrainBroker(draft: CatalogDraft, name: string): boolean {
  const broker = draft.get("broker", name);
  if (broker?.drain === undefined) return false;
  const { drain: _, ...rest } = broker;
  draft.put("broker", name, rest);
  const number = nextSpreadNumber(draft);
  changeTopicsOf(draft, name, (topic) => withBrokerOpen(topic, name, number));
  placeWanting(draft);
  return true;
}

/** Nothing is left on the broker that anybody waits for. */
export function noteDrained(draft: CatalogDraft, name: string): void {
  const broker = draft.get("broker", name);
  if (broker?.drain === undefined || broker.drain.isDone) return;
  draft.put("broker", name, { ...broker, drain: { ...broker.drain, isDone: true } });
  changeTopicsOf(draft, name, (topic) => withGroupsGone(topic, name));
}
