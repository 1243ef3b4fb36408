import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminAnswer, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { removeRateLimit } from "../catalog/declare-rate-limit.ts";
import type { LimitStanding } from "../limit/limit-shares.ts";
import type { RateLimitRecord } from "../resource/rate-limit.ts";
import { askedBy, keyOf, ofNamespace } from "./api-request.ts";
import { rateLimitView } from "./rate-limit-view.ts";

/** The part of the HTTP API that is about rate limits (docs/rate-limits.md). They are written by `POST /v1/apply`. */
export function addRateLimitRoutes(
  server: AdminServer,
  catalog: Catalog,
  standings: (name: string) => readonly LimitStanding[],
): void {
  const tables = catalog.tables;
  const view = (limit: RateLimitRecord) => rateLimitView(limit, standings(qualifiedName(limit.namespace, limit.name)));
  const base = "/v1/namespaces/:namespace/ratelimits";

  server.route("GET", base, ({ parameters }) =>
    jsonAnswer(200, { items: ofNamespace(tables.rateLimit, parameters["namespace"]).map(view) }),
  );
  server.route("GET", `${base}/:name`, ({ parameters }) => {
    const limit = tables.rateLimit.get(keyOf(parameters));
    return limit === undefined ? absent(parameters) : jsonAnswer(200, view(limit));
  });
  server.route("DELETE", `${base}/:name`, async (request) => {
    const key = keyOf(request.parameters);
    const removed = await catalog.change(askedBy(request), (draft) => removeRateLimit(draft, key));
    return removed ? jsonAnswer(200, { deleted: `ratelimit ${key}` }) : absent(request.parameters);
  });
}

function absent({ namespace = "", name = "" }: Readonly<Record<string, string>>): AdminAnswer {
  const error = `ratelimit "${name}" does not exist in namespace "${namespace}"; popmesh get ratelimits -n ${namespace} lists those that do, popmesh apply -f FILE makes one`;
  return jsonAnswer(404, { error });
}
