import { type AdminAnswer, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { usageOf } from "../catalog/namespace-usage.ts";
import { removeNamespace } from "../catalog/remove-namespace.ts";
import { askedBy, sorted } from "./api-request.ts";
import { namespaceView } from "./view.ts";

/** The part of the HTTP API that is about namespaces (docs/namespaces.md). They are written by `POST /v1/apply`. */
export function addNamespaceRoutes(server: AdminServer, catalog: Catalog, laneContext: LaneRuleContext): void {
  const tables = catalog.tables;
  server.route("GET", "/v1/namespaces", () =>
    jsonAnswer(200, {
      items: sorted(tables.namespace).map((record) => namespaceView(record, usageOf(tables, record.name))),
    }),
  );
  server.route("GET", "/v1/namespaces/:namespace", ({ parameters: { namespace = "" } }) => {
    const record = tables.namespace.get(namespace);
    return record === undefined
      ? absent(namespace)
      : jsonAnswer(200, namespaceView(record, usageOf(tables, namespace)));
  });
  server.route("DELETE", "/v1/namespaces/:namespace", async (request) => {
    const { namespace = "" } = request.parameters;
    const cascade = request.query.get("cascade") === "true";
    const removal = await catalog.change(askedBy(request), (draft) =>
      removeNamespace(draft, namespace, cascade, laneContext),
    );
    switch (removal.outcome) {
      case "absent":
        return absent(namespace);
      case "conflict":
        return jsonAnswer(409, { error: `namespace "${namespace}" ${removal.reason}` });
      case "removed":
        return jsonAnswer(200, { deleted: `namespace ${namespace}`, held: removal.held });
    }
  });
}

function absent(namespace: string): AdminAnswer {
  const error = `namespace "${namespace}" does not exist; create it: popmesh namespace create ${namespace}`;
  return jsonAnswer(404, { error });
}
