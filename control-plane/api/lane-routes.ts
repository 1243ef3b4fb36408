import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminAnswer, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { type LaneRuleContext, removeLaneRule } from "../catalog/declare-lane-rule.ts";
import { versionsOf } from "../catalog/resource-versions.ts";
import type { LaneRuleStanding } from "../operation/lane-publisher.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import { askedBy, keyOf, ofNamespace } from "./api-request.ts";
import { laneRuleView } from "./lane-view.ts";

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
    return laneRuleView(rule, standings(rule), tables.lanePublication.get(key), versionsOf(tables, "laneRule", key)[0]);
  };

  server.route("GET", base, ({ parameters }) => {
    const rules = ofNamespace(tables.laneRule, parameters["namespace"]);
    return jsonAnswer(200, { items: rules.map(viewOf) });
  });
  server.route("GET", `${base}/:name`, ({ parameters }) => {
    const rule = tables.laneRule.get(keyOf(parameters));
    if (rule !== undefined) return jsonAnswer(200, viewOf(rule));
    const [latest] = versionsOf(tables, "laneRule", keyOf(parameters));
    return absent(parameters, latest?.reason);
  });
  server.route("DELETE", `${base}/:name`, async (request) => {
    const key = keyOf(request.parameters);
    const removed = await catalog.change(askedBy(request), (draft) => removeLaneRule(draft, key, laneContext));
    return removed ? jsonAnswer(200, { deleted: `lanerule ${key}` }) : absent(request.parameters);
  });
}

/** `reason`: why its last version was taken back. */
function absent({ namespace = "", name = "" }: Readonly<Record<string, string>>, reason?: string): AdminAnswer {
  const because = reason === undefined ? "" : ` any more, its last version was rolled back because ${reason}`;
  const error = `lanerule "${name}" does not exist in namespace "${namespace}"${because}; popmesh get lanerules -n ${namespace} lists those that do, popmesh apply -f FILE makes one`;
  return jsonAnswer(404, { error });
}
