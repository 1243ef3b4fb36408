import { qualifiedName } from "../../proto/resource-name.ts";
import type { CatalogDraft } from "../catalog/catalog-draft.ts";
import { declareGroup, declareNamespace, declareTopic } from "../catalog/declare.ts";
import { declareLaneRule, type LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { declareRateLimit, rateLimitWarnings } from "../catalog/declare-rate-limit.ts";
import { declareRollout, heldByRollout } from "../catalog/declare-rollout.ts";
import { laneRuleWarnings } from "../catalog/lane-rule-warnings.ts";
import { namespaceWarnings } from "../catalog/namespace-usage.ts";
import type { Manifest } from "../resource/manifest.ts";
import type { ManifestMistake } from "../resource/manifest-mistake.ts";

/** What became of one manifest. */
export interface Applied {
  readonly kind: Manifest["kind"];
  readonly namespace: string;
  readonly name: string;
  readonly outcome: "created" | "configured" | "unchanged";
  /** Of a lane rule: its version now. */
  readonly generation?: number;
  /** What is in force and may not be what was meant. */
  readonly warnings?: readonly string[];
}

/** Manifests that contradict what exists; nothing of the whole request was applied. */
export class ApplyConflict extends Error {
  override readonly name = "ApplyConflict";
  readonly mistakes: readonly ManifestMistake[];

  constructor(mistakes: readonly ManifestMistake[]) {
    super("the manifests contradict what exists");
    this.mistakes = mistakes;
  }
}

/** Declares all manifests in one draft: all of them come into force, or `ApplyConflict` names every one that cannot. */
export function applyManifests(
  draft: CatalogDraft,
  manifests: readonly Manifest[],
  context: LaneRuleContext,
): Applied[] {
  const mistakes: ManifestMistake[] = [];
  const applied: Applied[] = [];
  for (const manifest of manifests) {
    const declared = declare(draft, manifest, context);
    const { kind, namespace, name, at } = manifest;
    if (declared.outcome === "conflict") {
      mistakes.push({
        ...at(declared.path.split(".")),
        path: declared.path,
        reason: `${kind} ${namespace}/${name} ${declared.reason}`,
      });
    } else applied.push({ kind, namespace, name, outcome: declared.outcome });
  }
  if (mistakes.length > 0) throw new ApplyConflict(mistakes);
  // Only now: a later manifest may have brought what an earlier one names.
  return applied.map((line) => {
    const warnings = warningsOf(draft, line);
    const rule = line.kind === "LaneRule" ? draft.get("laneRule", qualifiedName(line.namespace, line.name)) : undefined;
    const versioned = rule === undefined ? line : { ...line, generation: rule.generation };
    return warnings.length === 0 ? versioned : { ...versioned, warnings };
  });
}

/** What of a resource that is in force may not be what was meant. */
export function warningsOf(
  draft: CatalogDraft,
  { kind, namespace, name }: Pick<Applied, "kind" | "namespace" | "name">,
): string[] {
  const key = qualifiedName(namespace, name);
  switch (kind) {
    case "LaneRule": {
      const rule = draft.get("laneRule", key);
      return rule === undefined ? [] : laneRuleWarnings(draft, rule);
    }
    case "RateLimit": {
      const limit = draft.get("rateLimit", key);
      return limit === undefined ? [] : rateLimitWarnings(draft, limit);
    }
    case "Namespace":
      return namespaceWarnings(draft, name);
    default:
      return [];
  }
}

function declare(draft: CatalogDraft, manifest: Manifest, context: LaneRuleContext) {
  const defaults = context.namespaceDefaults;
  switch (manifest.kind) {
    case "Topic":
      return declareTopic(draft, manifest.namespace, manifest.name, manifest.spec, defaults);
    case "ConsumerGroup":
      return declareGroup(draft, manifest.namespace, manifest.name, manifest.spec, defaults);
    case "Namespace":
      return declareNamespace(draft, manifest.name, manifest.spec, defaults);
    case "LaneRule":
      return declareLaneRule(draft, heldByRollout(draft, manifest), context);
    case "RateLimit":
      return declareRateLimit(draft, manifest, defaults);
    case "Rollout":
      return declareRollout(draft, manifest, context);
  }
}
