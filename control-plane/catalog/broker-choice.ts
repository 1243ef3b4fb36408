import { createHash } from "node:crypto";
import type { TopicRecord } from "../resource/topic.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { nextSpreadNumber, withBrokersAdded } from "./topic-placement.ts";

/** Broker groups that take new topics: those that live and are not leaving; if none lives, those that may come back. */
export function placeable(draft: CatalogDraft): string[] {
  const serving = draft
    .keys("broker")
    .filter((name) => draft.get("broker", name)?.state === "serving" && draft.get("broker", name)?.drain === undefined)
    .sort();
  const alive = serving.filter((name) => draft.isAlive(name));
  return alive.length > 0 ? alive : serving;
}

/** Where a topic is put that lies nowhere: on `count` of the candidates, or on all of them where no number is said. */
export function brokersFor(key: string, count: number | undefined, candidates: readonly string[]): readonly string[] {
  return count === undefined ? candidates : byPreference(key, candidates).slice(0, count).sort();
}

/**
 * Brokers that a topic lacks of the number it shall lie on. Those that are drained do not count, those that are down do: they may come
 * back, and a topic is not moved by a restart.
 */
export function brokersLacking(
  key: string,
  { brokers, placement, closed = [] }: Pick<TopicRecord, "brokers" | "placement" | "closed">,
  candidates: readonly string[],
): readonly string[] {
  if (brokers === undefined) return [];
  const lacking = brokers - placement.filter((name) => !closed.includes(name)).length;
  if (lacking <= 0) return [];
  const others = candidates.filter((name) => !placement.includes(name));
  return byPreference(key, others).slice(0, lacking);
}

/** Topics that lie nowhere, or on fewer brokers than they shall, get the brokers that are there now. */
export function placeWanting(draft: CatalogDraft): void {
  const candidates = placeable(draft);
  if (candidates.length === 0) return;
  let number = 0;
  for (const key of draft.keys("topic")) {
    const topic = draft.get("topic", key);
    if (topic === undefined) continue;
    const isHomeless = topic.placement.length === 0;
    const come = isHomeless
      ? brokersFor(key, topic.brokers, candidates)
      : brokersLacking(key, topic, candidates.filter(draft.isAlive));
    if (come.length === 0) continue;
    // A topic that lies nowhere has no message groups, unless they had moved before it lost its last broker.
    if (number === 0 && (!isHomeless || topic.groupSpread !== undefined)) number = nextSpreadNumber(draft);
    draft.put("topic", key, withBrokersAdded(topic, come, number));
  }
}

/**
 * The candidates, best first. Each weighs them by itself and its own name (rendezvous hashing), so topics are spread evenly, every control plane
 * chooses alike, and a broker that comes or goes changes the choice of few.
 */
function byPreference(key: string, candidates: readonly string[]): string[] {
  const weights = new Map(candidates.map((name) => [name, weightOf(key, name)]));
  return [...candidates].sort((a, b) => (weights.get(b) ?? 0) - (weights.get(a) ?? 0) || (a < b ? -1 : 1));
}

function weightOf(key: string, brokerName: string): number {
  return createHash("sha256").update(`${key}\n${brokerName}`).digest().readUInt32BE(0);
}
