import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminRequest, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { CatalogDraft } from "../catalog/catalog-draft.ts";
import { rollBackNamespace } from "../catalog/declare.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { rollBackRateLimit } from "../catalog/declare-rate-limit.ts";
import {
  type RolledBack,
  type VersionedKind,
  type VersionedSpec,
  type VersionOf,
  versionsOf,
} from "../catalog/resource-versions.ts";
import { rollBackLaneRule } from "../catalog/roll-back-lane-rule.ts";
import type { Manifest } from "../resource/manifest.ts";
import { askedBy } from "./api-request.ts";
import { warningsOf } from "./apply.ts";
import { laneRuleSpecView } from "./lane-view.ts";
import { rateLimitSpecView } from "./rate-limit-view.ts";
import { isoTime, namespaceSpecView } from "./view.ts";

/** A kind whose versions are kept. */
interface Versioned<K extends VersionedKind> {
  readonly kind: K;
  /** As manifests call it. */
  readonly manifest: Manifest["kind"];
  /** Of one resource; its parameters are `namespace` and, of what lives in one, `name`. */
  readonly path: string;
  readonly specView: (spec: VersionedSpec[K]) => object;
  readonly rollBack: (
    draft: CatalogDraft,
    namespace: string,
    name: string,
    to: number | undefined,
  ) => RolledBack<{ readonly generation: number }>;
}

/** History and rollback, the same for every kind whose versions are kept (docs/lane-rules.md, "History"). */
export function addVersionRoutes(server: AdminServer, catalog: Catalog, laneContext: LaneRuleContext): void {
  const { namespaceDefaults } = laneContext;
  const base = "/v1/namespaces/:namespace";
  addRoutes(server, catalog, {
    ...{ kind: "laneRule", manifest: "LaneRule", path: `${base}/lanerules/:name`, specView: laneRuleSpecView },
    rollBack: (draft, namespace, name, to) => rollBackLaneRule(draft, namespace, name, to, laneContext),
  });
  addRoutes(server, catalog, {
    ...{ kind: "rateLimit", manifest: "RateLimit", path: `${base}/ratelimits/:name`, specView: rateLimitSpecView },
    rollBack: (draft, namespace, name, to) => rollBackRateLimit(draft, namespace, name, to, namespaceDefaults),
  });
  addRoutes(server, catalog, {
    ...{ kind: "namespace", manifest: "Namespace", path: base, specView: namespaceSpecView },
    rollBack: (draft, namespace, _, to) => rollBackNamespace(draft, namespace, to, namespaceDefaults),
  });
}

function addRoutes<K extends VersionedKind>(server: AdminServer, catalog: Catalog, of: Versioned<K>): void {
  const { kind, manifest, path, specView } = of;
  const tables = catalog.tables;
  const named = ({ namespace = "", name = namespace }: Readonly<Record<string, string>>) => {
    const isNamespace = kind === "namespace";
    const key = isNamespace ? namespace : qualifiedName(namespace, name);
    return { namespace, name, key, title: `${manifest} ${key}` };
  };

  server.route("GET", `${path}/history`, ({ parameters }) => {
    const { key, title } = named(parameters);
    const versions = versionsOf(tables, kind, key);
    if (versions.length === 0 && !tables[kind].has(key)) {
      return jsonAnswer(404, { error: `${title} has no history: there never was one` });
    }
    return jsonAnswer(200, { items: versions.map((version) => versionView(version, specView)) });
  });

  server.route("POST", `${path}/rollback`, async (request) => {
    const to = versionAsked(request);
    if (to === "wrong") return jsonAnswer(400, { error: 'the body must be {} or {"to": <number of a version>}' });
    const { namespace, name, title } = named(request.parameters);
    const { rolledBack, warnings } = await catalog.change(askedBy(request), (draft) => {
      const outcome = of.rollBack(draft, namespace, name, to);
      return { rolledBack: outcome, warnings: warningsOf(draft, { kind: manifest, namespace, name }) };
    });
    switch (rolledBack.outcome) {
      case "absent":
        return jsonAnswer(404, { error: `${title} ${rolledBack.reason}` });
      case "conflict":
        return jsonAnswer(409, { error: `${title} ${rolledBack.reason}` });
      default: {
        const { outcome, record } = rolledBack;
        return jsonAnswer(200, { outcome, generation: record.generation, warnings });
      }
    }
  });
}

/** A version as the history tells it; `spec` is null where the resource was deleted. */
function versionView<K extends VersionedKind>(
  { generation, atMs, by, action, contentOf, reason, spec }: VersionOf<K>,
  specView: (spec: VersionedSpec[K]) => object,
): object {
  return {
    generation,
    at: isoTime(atMs),
    by,
    action,
    ...(contentOf === undefined ? {} : { contentOf }),
    ...(reason === undefined ? {} : { reason }),
    spec: spec === undefined ? null : specView(spec),
  };
}

/** Undefined: the one before. */
function versionAsked({ body }: AdminRequest): number | undefined | "wrong" {
  let value: unknown;
  try {
    value = body === "" ? {} : JSON.parse(body);
  } catch {
    return "wrong";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "wrong";
  const { to, ...others } = value as { to?: unknown };
  if (Object.keys(others).length > 0) return "wrong";
  if (to === undefined) return undefined;
  return typeof to === "number" && Number.isInteger(to) && to > 0 ? to : "wrong";
}
