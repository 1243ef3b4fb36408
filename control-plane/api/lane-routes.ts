import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminAnswer, type AdminRequest, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { CatalogDraft } from "../catalog/catalog-draft.ts";
import { type LaneRuleContext, laneVersions, removeLaneRule, rollBackLaneRule } from "../catalog/declare-lane-rule.ts";
import { laneRuleWarnings } from "../catalog/lane-rule-warnings.ts";
import type { LaneRuleStanding } from "../operation/lane-publisher.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import { askedBy, keyOf, ofNamespace } from "./api-request.ts";
import { laneRuleView, laneVersionView } from "./lane-view.ts";

export interface LaneDoors {
  readonly catalog: Catalog;
  readonly laneContext: LaneRuleContext;
  /** How a rule stands at the brokers that hold its topic. */
  readonly standings: (rule: LaneRuleRecord) => readonly LaneRuleStanding[];
}

/** The part of the HTTP API that is about lane rules (docs/lane-rules.md). They are written by `POST /v1/apply`. */
export function addLaneRoutes(server: AdminServer, { catalog, laneContext, standings }: LaneDoors): void {
  const tables = catalog.tables;
  const base = "/v1/namespaces/:namespace/lanerules";

  const viewOf = (rule: LaneRuleRecord) => {
    const key = qualifiedName(rule.namespace, rule.name);
    return laneRuleView(rule, standings(rule), tables.lanePublication.get(key), laneVersions(tables, key)[0]);
  };

  server.route("GET", base, ({ parameters }) => {
    const rules = ofNamespace(tables.laneRule, parameters["namespace"]);
    return jsonAnswer(200, { items: rules.map(viewOf) });
  });
  server.route("GET", `${base}/:name`, ({ parameters }) => {
    const rule = tables.laneRule.get(keyOf(parameters));
    if (rule !== undefined) return jsonAnswer(200, viewOf(rule));
    const [latest] = laneVersions(tables, keyOf(parameters));
    return absent(parameters, latest?.reason);
  });
  server.route("DELETE", `${base}/:name`, async (request) => {
    const key = keyOf(request.parameters);
    const removed = await catalog.change(askedBy(request), (draft) => removeLaneRule(draft, key, laneContext));
    return removed ? jsonAnswer(200, { deleted: `lanerule ${key}` }) : absent(request.parameters);
  });
  server.route("GET", `${base}/:name/history`, ({ parameters }) => {
    const versions = laneVersions(tables, keyOf(parameters));
    return versions.length === 0 ? absent(parameters) : jsonAnswer(200, { items: versions.map(laneVersionView) });
  });
  server.route("POST", `${base}/:name/rollback`, async (request) => {
    const to = versionAsked(request);
    if (to === "wrong") return jsonAnswer(400, { error: 'the body must be {} or {"to": <number of a version>}' });
    const { namespace = "", name = "" } = request.parameters;
    const { rolledBack, warnings } = await catalog.change(askedBy(request), (draft) => {
      const outcome = rollBackLaneRule(draft, namespace, name, to, laneContext);
      return { rolledBack: outcome, warnings: warningsOf(draft, qualifiedName(namespace, name)) };
    });
    switch (rolledBack.outcome) {
      case "absent":
        return jsonAnswer(404, { error: `LaneRule ${namespace}/${name} ${rolledBack.reason}` });
      case "conflict":
        return jsonAnswer(409, { error: `LaneRule ${namespace}/${name} ${rolledBack.reason}` });
      default: {
        const { outcome, record } = rolledBack;
        return jsonAnswer(200, { outcome, generation: record.generation, warnings });
      }
    }
  });
}

function warningsOf(draft: CatalogDraft, key: string): string[] {
  const rule = draft.get("laneRule", key);
  return rule === undefined ? [] : laneRuleWarnings(draft, rule);
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

/** `reason`: why its last version was taken back. */
function absent({ namespace = "", name = "" }: Readonly<Record<string, string>>, reason?: string): AdminAnswer {
  const because = reason === undefined ? "" : ` any more, its last version was rolled back because ${reason}`;
  const error = `lanerule "${name}" does not exist in namespace "${namespace}"${because}; popmesh get lanerules -n ${namespace} lists those that do, popmesh apply -f FILE makes one`;
  return jsonAnswer(404, { error });
}
