import { isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, type YAMLMap } from "yaml";
import { z } from "zod";
import { defaultNamespace, groupNameProblem, namespaceProblem, topicNameProblem } from "../../proto/resource-name.ts";
import type { Backoff, ConsumerGroupSpec } from "./consumer-group.ts";
import { consumerGroupLimits, deliveryModes } from "./consumer-group.ts";
import type { LaneRuleSpec } from "./lane-rule.ts";
import { laneRuleSpecSchema } from "./lane-rule-manifest.ts";
import { duration } from "./manifest-duration.ts";
import { type ManifestMistake, mistakesOf, mistakeWords, type Place, type PlaceOf } from "./manifest-mistake.ts";
import { manifestApiVersion } from "./manifest-version.ts";
import type { NamespaceSpec } from "./namespace.ts";
import { namespaceSpecSchema } from "./namespace-manifest.ts";
import type { RateLimitSpec } from "./rate-limit.ts";
import { rateLimitSpecSchema } from "./rate-limit-manifest.ts";
import type { RolloutSaid } from "./rollout.ts";
import { rolloutSpecSchema } from "./rollout-manifest.ts";
import { type TopicSpec, topicBrokersMax, topicQueuesMax, topicStates, topicTypes } from "./topic.ts";

/** A resource as people write it, checked. Fields that were left out of the spec are absent. */
export type Manifest =
  | {
      readonly kind: "Topic";
      readonly namespace: string;
      readonly name: string;
      readonly spec: Partial<TopicSpec>;
      readonly at: PlaceOf;
    }
  | {
      readonly kind: "ConsumerGroup";
      readonly namespace: string;
      readonly name: string;
      readonly spec: Partial<ConsumerGroupSpec>;
      readonly at: PlaceOf;
    }
  | {
      readonly kind: "Namespace";
      readonly namespace: string;
      readonly name: string;
      readonly spec: Partial<NamespaceSpec>;
      readonly at: PlaceOf;
    }
  | {
      readonly kind: "LaneRule";
      readonly namespace: string;
      readonly name: string;
      readonly spec: LaneRuleSpec;
      readonly at: PlaceOf;
    }
  | {
      readonly kind: "RateLimit";
      readonly namespace: string;
      readonly name: string;
      readonly spec: RateLimitSpec;
      readonly at: PlaceOf;
    }
  | {
      readonly kind: "Rollout";
      readonly namespace: string;
      readonly name: string;
      readonly spec: RolloutSaid;
      readonly at: PlaceOf;
    };

export type ManifestReading =
  | { readonly ok: true; readonly manifests: readonly Manifest[] }
  | { readonly ok: false; readonly mistakes: readonly ManifestMistake[] };

/** Documents of one text: a guard against a file that is no manifest. */
const documentsMax = 10_000;

const limits = consumerGroupLimits;
const backoffDelay = duration(0, limits.backoffDelayMsMax);

const backoffSchema = z
  .strictObject({
    list: z.array(backoffDelay).min(1).max(limits.backoffListLengthMax).optional(),
    exponential: z
      .strictObject({
        initial: backoffDelay,
        max: backoffDelay,
        multiplier: z.number().min(limits.backoffMultiplier.min).max(limits.backoffMultiplier.max),
      })
      .refine(({ initial, max }) => initial <= max, { path: ["initial"], message: "must not be longer than max" })
      .optional(),
  })
  .transform(({ list, exponential }, context): Backoff => {
    if (list !== undefined && exponential === undefined) return { kind: "list", delaysMs: list };
    if (list === undefined && exponential !== undefined) {
      const { initial, max, multiplier } = exponential;
      return { kind: "exponential", initialMs: initial, maxMs: max, multiplier };
    }
    const message = "must have either list, such as [1s, 10s, 1m], or exponential, with initial, max and multiplier";
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });

const specSchemas = {
  Topic: z.strictObject({
    type: z.enum(topicTypes).optional(),
    queues: z.int().min(1).max(topicQueuesMax).optional(),
    state: z.enum(topicStates).optional(),
    brokers: z.int().min(1).max(topicBrokersMax).optional(),
  }),
  ConsumerGroup: z
    .strictObject({
      attemptsMax: z.int().min(limits.attemptsMax.min).max(limits.attemptsMax.max).optional(),
      backoff: backoffSchema.optional(),
      inflightMax: z.int().min(limits.inflightMax.min).max(limits.inflightMax.max).optional(),
      receiveBatchSize: z.int().min(limits.receiveBatchSize.min).max(limits.receiveBatchSize.max).optional(),
      longPolling: duration(limits.longPollingMs.min, limits.longPollingMs.max).optional(),
      deliveryMode: z.enum(deliveryModes).optional(),
      instanceExpiry: duration(limits.instanceExpiryMs.min, limits.instanceExpiryMs.max).optional(),
    })
    .transform(({ longPolling, instanceExpiry, ...rest }) => ({
      ...rest,
      ...(longPolling === undefined ? {} : { longPollingMs: longPolling }),
      ...(instanceExpiry === undefined ? {} : { instanceExpiryMs: instanceExpiry }),
    })),
  Namespace: namespaceSpecSchema,
  LaneRule: laneRuleSpecSchema,
  RateLimit: rateLimitSpecSchema,
  Rollout: rolloutSpecSchema,
} as const;
type ManifestKind = keyof typeof specSchemas;

const headSchema = z.strictObject({
  apiVersion: z.literal(manifestApiVersion),
  kind: z.enum(["Topic", "ConsumerGroup", "Namespace", "LaneRule", "RateLimit", "Rollout"]),
  metadata: z.strictObject({ name: z.string(), namespace: z.string().optional() }),
  spec: z.unknown().optional(),
  // What the API adds to its answers; ignored, so that an answer can be applied again.
  status: z.unknown().optional(),
});

const nameProblemByKind: Readonly<Record<ManifestKind, (name: string) => string | undefined>> = {
  Topic: topicNameProblem,
  ConsumerGroup: groupNameProblem,
  Namespace: namespaceProblem,
  LaneRule: topicNameProblem,
  RateLimit: topicNameProblem,
  Rollout: topicNameProblem,
};

/** Reads one or many YAML (or JSON) documents, each a manifest or a list of them. All mistakes of all documents are told at once, none is applied. */
export function readManifests(text: string): ManifestReading {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true });
  const list = Array.isArray(documents) ? documents : [];
  const mistakes: ManifestMistake[] = [];
  const manifests: Manifest[] = [];
  if (list.length > documentsMax) {
    return {
      ok: false,
      mistakes: [{ line: 1, column: 1, path: "", reason: `holds more than ${documentsMax} documents` }],
    };
  }
  for (const document of list) {
    if (document.errors.length > 0) {
      for (const error of document.errors) {
        const at = error.linePos?.[0] ?? { line: 1, col: 1 };
        mistakes.push({
          line: at.line,
          column: at.col,
          path: "",
          reason: (error.message.split("\n")[0] ?? "is no YAML").replace(/ at line \d+, column \d+:?$/, ""),
        });
      }
      continue;
    }
    const root = document.contents;
    if (root === null || (isScalar(root) && root.value === null)) continue;
    const place = (path: readonly PropertyKey[]) => placeOf(root as Node, path, lines);
    try {
      const value: unknown = document.toJS({ maxAliasCount: 0 });
      if (Array.isArray(value)) {
        // A list of manifests, as `popmesh get -o json` prints it.
        for (const [i, item] of value.entries()) readManifest(item, (path) => place([i, ...path]), manifests, mistakes);
      } else readManifest(value, place, manifests, mistakes);
    } catch (error) {
      // Aliases can make a small text a huge value; no manifest needs one.
      if (!(error instanceof ReferenceError)) throw error;
      mistakes.push({ ...place([]), path: "", reason: "uses an alias (*name), which manifests may not" });
    }
  }
  if (mistakes.length === 0 && manifests.length === 0) {
    mistakes.push({ line: 1, column: 1, path: "", reason: "holds no document" });
  }
  return mistakes.length > 0 ? { ok: false, mistakes } : { ok: true, manifests };
}

function readManifest(value: unknown, place: PlaceOf, manifests: Manifest[], mistakes: ManifestMistake[]): void {
  const head = headSchema.safeParse(value, { error: mistakeWords });
  if (!head.success) {
    mistakes.push(...mistakesOf(head.error, headSchema, [], place));
    return;
  }
  const { kind, metadata } = head.data;
  const namespace = kind === "Namespace" ? metadata.name : (metadata.namespace ?? defaultNamespace);
  const nameProblem = nameProblemByKind[kind](metadata.name);
  if (nameProblem !== undefined) {
    mistakes.push({
      ...place(["metadata", "name"]),
      path: "metadata.name",
      reason: `"${metadata.name}" ${nameProblem}`,
    });
  }
  const ownNamespaceProblem = kind === "Namespace" ? undefined : namespaceProblem(namespace);
  if (ownNamespaceProblem !== undefined) {
    const reason = `"${namespace}" ${ownNamespaceProblem}`;
    mistakes.push({ ...place(["metadata", "namespace"]), path: "metadata.namespace", reason });
  }
  const spec = specSchemas[kind].safeParse(head.data.spec ?? {}, { error: mistakeWords });
  if (!spec.success) mistakes.push(...mistakesOf(spec.error, specSchemas[kind], ["spec"], place));
  else if (nameProblem === undefined && ownNamespaceProblem === undefined) {
    manifests.push({ kind, namespace, name: metadata.name, spec: spec.data, at: place } as Manifest);
  }
}

/** Place of the deepest node that the path reaches. */
function placeOf(root: Node, path: readonly PropertyKey[], lines: LineCounter): Place {
  let node: Node | undefined = root;
  let offset = root.range?.[0] ?? 0;
  for (const key of path) {
    if (isSeq(node)) {
      node = node.items[Number(key)] as Node | undefined;
      offset = node?.range?.[0] ?? offset;
      continue;
    }
    if (!isMap(node)) break;
    const pair = (node as YAMLMap).items.find(({ key: name }) => isScalar(name) && name.value === key);
    if (pair === undefined) break;
    offset = (pair.key as Node).range?.[0] ?? offset;
    node = pair.value as Node | undefined;
  }
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}
