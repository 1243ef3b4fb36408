import { qualifiedName } from "../../proto/resource-name.ts";
import type { CatalogDraft } from "../catalog/catalog-draft.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import type { Manifest } from "../resource/manifest.ts";
import { type Applied, applyManifests } from "./apply.ts";
import { laneRuleSpecView } from "./lane-view.ts";
import { rateLimitSpecView } from "./rate-limit-view.ts";
import { rolloutSpecView } from "./rollout-view.ts";
import { groupView, namespaceSpecView, topicView } from "./view.ts";

/** What applying a manifest would do. */
export interface Difference extends Applied {
  /** The spec in force; null: there is none. */
  readonly before: object | null;
  readonly after: object | null;
}

/** Applies all manifests to a draft that its owner throws away. Throws `ApplyConflict` as applying them would. */
export function diffManifests(
  draft: CatalogDraft,
  manifests: readonly Manifest[],
  context: LaneRuleContext,
): Difference[] {
  const before = manifests.map((manifest) => specIn(draft, manifest));
  return applyManifests(draft, manifests, context).map((applied, i) => ({
    ...applied,
    before: before[i] ?? null,
    after: specIn(draft, applied),
  }));
}

/** As the API tells it; null when there is no such resource. */
function specIn(draft: CatalogDraft, { kind, namespace, name }: Pick<Manifest, "kind" | "namespace" | "name">) {
  const key = qualifiedName(namespace, name);
  switch (kind) {
    case "Topic": {
      const topic = draft.get("topic", key);
      return topic === undefined ? null : topicView(topic).spec;
    }
    case "ConsumerGroup": {
      const group = draft.get("group", key);
      return group === undefined ? null : groupView(group).spec;
    }
    case "Namespace": {
      const record = draft.get("namespace", name);
      return record === undefined ? null : namespaceSpecView(record);
    }
    case "LaneRule": {
      const rule = draft.get("laneRule", key);
      return rule === undefined ? null : laneRuleSpecView(rule);
    }
    case "RateLimit": {
      const limit = draft.get("rateLimit", key);
      return limit === undefined ? null : rateLimitSpecView(limit);
    }
    case "Rollout": {
      const rollout = draft.get("rollout", key);
      return rollout === undefined ? null : rolloutSpecView(rollout);
    }
  }
}
