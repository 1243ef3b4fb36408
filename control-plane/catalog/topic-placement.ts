import type { GroupSpread, TopicRecord } from "../resource/topic.ts";
import type { CatalogDraft } from "./catalog-draft.ts";

/**
 * The number of a spread that is newer than all before. It is made of the wall clock, so that it is newer than what brokers know also when
 * this control plane has lost its memory.
 */
export function nextSpreadNumber(draft: CatalogDraft): number {
  const last = draft.get("counter", spreadCounter) ?? { incarnation: 0, generation: 0 };
  const generation = Math.max(last.generation + 1, Math.floor(draft.nowMs));
  draft.put("counter", spreadCounter, { ...last, generation });
  return generation;
}

const spreadCounter = "group-spread";

/** A broker takes no new messages of the topic any more, and message groups leave it. `heirs`: brokers that come in its place. */
export function withBrokerDraining(
  topic: TopicRecord,
  name: string,
  heirs: readonly string[],
  number: number,
): TopicRecord {
  const placement = [...topic.placement, ...heirs.filter((heir) => !topic.placement.includes(heir))];
  return spreadAnew({ ...topic, placement, closed: [...new Set([...(topic.closed ?? []), name])] }, topic, number);
}

/** A broker takes new messages of the topic again, and message groups that have nothing left elsewhere. */
export function withBrokerOpen(topic: TopicRecord, name: string, number: number): TopicRecord {
  const open = { ...topic, closed: without(topic.closed, name) };
  const { groupSpread } = topic;
  const spread = groupSpread && { ...groupSpread, gone: without(groupSpread.gone, name) };
  return spreadAnew(spread === undefined ? open : { ...open, groupSpread: spread }, topic, number);
}

/** A broker has nothing left of any message group: it is not asked for them any more. */
export function withGroupsGone(topic: TopicRecord, name: string): TopicRecord {
  const { groupSpread } = topic;
  if (groupSpread === undefined) return topic;
  return tidy({ ...topic, groupSpread: { ...groupSpread, gone: [...without(groupSpread.gone, name), name] } });
}

/** A broker also holds the topic. It takes messages, and message groups that have nothing left elsewhere. */
export function withBrokerAdded(topic: TopicRecord, name: string, number: number): TopicRecord {
  return topic.placement.includes(name) ? topic : withBrokersAdded(topic, [name], number);
}

/** The same of brokers none of which holds it. */
export function withBrokersAdded(topic: TopicRecord, names: readonly string[], number: number): TopicRecord {
  const placement = [...topic.placement, ...names];
  const { groupSpread } = topic;
  // Message groups never moved, and there are none yet.
  if (groupSpread === undefined && topic.placement.length === 0) return { ...topic, placement };
  const spread = groupSpread && { ...groupSpread, gone: groupSpread.gone.filter((broker) => !names.includes(broker)) };
  return spreadAnew({ ...topic, placement, ...(spread === undefined ? {} : { groupSpread: spread }) }, topic, number);
}

/** A broker is gone for good. */
export function withoutBroker(topic: TopicRecord, name: string, number: number): TopicRecord {
  const left = { ...topic, placement: without(topic.placement, name), closed: without(topic.closed, name) };
  // Where message groups never moved, those of others stay where they are by themselves.
  if (topic.groupSpread === undefined) return tidy(left);
  return withGroupsGone(spreadAnew(left, topic, number), name);
}

/** Message groups are spread over the brokers of `changed` that take new messages; they were spread as in `before`. */
function spreadAnew(changed: TopicRecord, before: TopicRecord, number: number): TopicRecord {
  const now = changed.placement.filter((broker) => changed.closed?.includes(broker) !== true);
  const sets = changed.groupSpread?.sets ?? [before.placement];
  if (isSameSet(now, sets[0] ?? [])) return tidy(changed);
  return tidy({ ...changed, groupSpread: { number, sets: [now, ...sets], gone: changed.groupSpread?.gone ?? [] } });
}

/** What says nothing is left out, so that routes are short. */
function tidy({ closed = [], groupSpread, ...topic }: TopicRecord): TopicRecord {
  return {
    ...topic,
    ...(closed.length > 0 ? { closed } : {}),
    ...(groupSpread === undefined ? {} : { groupSpread: shortest(groupSpread) }),
  };
}

/** Without the sets by which no message group has another home that has to be asked. */
function shortest({ number, sets, gone }: GroupSpread): GroupSpread {
  const [now = [], ...earlier] = sets;
  const kept: (readonly string[])[] = [now];
  for (const set of earlier) {
    const asked = set.filter((broker) => !gone.includes(broker));
    // A home that is left when others have gone is that of the set without those (rendezvous hashing).
    if (asked.length > 0 && !isSameSet(asked, now) && !kept.some((other) => isSameSet(other, set))) kept.push(set);
  }
  const named = new Set(kept.slice(1).flat());
  return { number, sets: kept, gone: gone.filter((broker) => named.has(broker)) };
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

/** Changes every topic that a broker holds; returns how many were changed. */
export function changeTopicsOf(draft: CatalogDraft, name: string, change: (topic: TopicRecord) => TopicRecord): number {
  let count = 0;
  for (const key of draft.keys("topic")) {
    const topic = draft.get("topic", key);
    if (topic?.placement.includes(name) !== true) continue;
    const changed = change(topic);
    if (changed === topic) continue;
    draft.put("topic", key, changed);
    count++;
  }
  return count;
}

function without(names: readonly string[] | undefined, name: string): readonly string[] {
  return (names ?? []).filter((other) => other !== name);
}
