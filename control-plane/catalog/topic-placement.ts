import type { TopicRecord } from "../resource/topic.ts";
import type { CatalogDraft } from "./catalog-draft.ts";

/** The sets that the message groups of a topic are spread over, by order of preference; see `TopicRecord.groupSets`. */
export function groupSetsOf({ groupSets, placement }: TopicRecord): readonly (readonly string[])[] {
  return groupSets ?? [placement];
}

/** A broker takes no new messages of the topic any more, and message groups leave it. `heirs`: brokers that come in its place. */
export function withBrokerDraining(topic: TopicRecord, name: string, heirs: readonly string[]): TopicRecord {
  const added = heirs.filter((heir) => !topic.placement.includes(heir));
  const placement = [...topic.placement, ...added];
  const closed = [...new Set([...(topic.closed ?? []), name])];
  const groupsLeft = [...new Set([...(topic.groupsLeft ?? []), name])];
  let groupSets = groupSetsOf(topic);
  // Whoever leaves the last of them needs somewhere to go; brokers that left once do not count.
  if (groupSets.flat().every((broker) => groupsLeft.includes(broker))) {
    groupSets = [...groupSets, placement.filter((broker) => !groupsLeft.includes(broker))];
  }
  return tidy({ ...topic, placement, closed, groupsLeft, groupSets });
}

/** A broker takes new messages of the topic again. Message groups that leave it go on doing so: their order is elsewhere now. */
export function withBrokerOpen(topic: TopicRecord, name: string): TopicRecord {
  return tidy({ ...topic, closed: without(topic.closed, name) });
}

/** Message groups have left a broker: it is not asked for them any more. */
export function withGroupsGone(topic: TopicRecord, name: string): TopicRecord {
  if (!groupSetsOf(topic).some((set) => set.includes(name))) return topic;
  const groupSets = groupSetsOf(topic)
    .map((set) => set.filter((broker) => broker !== name))
    .filter((set) => set.length > 0);
  return tidy({ ...topic, groupSets, groupsLeft: without(topic.groupsLeft, name) });
}

/** A broker also holds the topic: it takes messages without a message group at once, and message groups when they leave another. */
export function withBrokerAdded(topic: TopicRecord, name: string): TopicRecord {
  if (topic.placement.includes(name)) return topic;
  const placement = [...topic.placement, name];
  return tidy({ ...topic, placement, groupSets: topic.placement.length === 0 ? [placement] : groupSetsOf(topic) });
}

/** A broker is gone for good. */
export function withoutBroker(topic: TopicRecord, name: string): TopicRecord {
  const left = withGroupsGone(topic, name);
  return tidy({ ...left, placement: without(left.placement, name), closed: without(left.closed, name) });
}

/** What says nothing is left out, so that a topic which nobody drained looks like one. */
function tidy({ closed = [], groupsLeft = [], groupSets = [], ...topic }: TopicRecord): TopicRecord {
  const isPlain = groupSets.length === 1 && topic.placement.every((broker) => groupSets[0]?.includes(broker));
  return {
    ...topic,
    ...(closed.length > 0 ? { closed } : {}),
    ...(groupsLeft.length > 0 ? { groupsLeft } : {}),
    ...(groupSets.length > 0 && !isPlain ? { groupSets } : {}),
  };
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
