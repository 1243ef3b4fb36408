import { type AdminAnswer, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { orderOfRollout, removeRollout, ruleOfRollout } from "../catalog/declare-rollout.ts";
import type { RolloutRecord } from "../resource/rollout.ts";
import type { RolloutLook } from "../rollout/rollout-controller.ts";
import { askedBy, keyOf, ofNamespace } from "./api-request.ts";
import { eventView, rolloutView } from "./rollout-view.ts";

export interface RolloutDoors {
  readonly catalog: Catalog;
  readonly laneContext: LaneRuleContext;
  /** What the last look at "<namespace>/<rollout>" found. */
  readonly lookOf: (key: string) => RolloutLook | undefined;
}

const orders = ["pause", "resume", "promote", "abort"] as const;

/** The part of the HTTP API that is about rollouts (docs/rollout.md). They are written by `POST /v1/apply`. */
export function addRolloutRoutes(server: AdminServer, { catalog, laneContext, lookOf }: RolloutDoors): void {
  const tables = catalog.tables;
  const base = "/v1/namespaces/:namespace/rollouts";
  const view = (rollout: RolloutRecord) => {
    const key = keyOf({ namespace: rollout.namespace, name: rollout.name });
    const state = tables.rolloutState.get(key);
    return state === undefined ? [] : [rolloutView(rollout, state, ruleOfRollout(tables, rollout), lookOf(key))];
  };

  server.route("GET", base, ({ parameters }) =>
    jsonAnswer(200, { items: ofNamespace(tables.rollout, parameters["namespace"]).flatMap(view) }),
  );
  server.route("GET", `${base}/:name`, ({ parameters }) => {
    const rollout = tables.rollout.get(keyOf(parameters));
    const [found] = rollout === undefined ? [] : view(rollout);
    return found === undefined ? absent(parameters) : jsonAnswer(200, found);
  });
  server.route("GET", `${base}/:name/history`, ({ parameters }) => {
    const state = tables.rolloutState.get(keyOf(parameters));
    return state === undefined
      ? absent(parameters)
      : jsonAnswer(200, { items: [...state.events].reverse().map(eventView) });
  });
  server.route("DELETE", `${base}/:name`, async (request) => {
    const key = keyOf(request.parameters);
    const removed = await catalog.change(askedBy(request), (draft) => removeRollout(draft, key));
    return removed ? jsonAnswer(200, { deleted: `rollout ${key}` }) : absent(request.parameters);
  });
  for (const order of orders) {
    server.route("POST", `${base}/:name/${order}`, async (request) => {
      const key = keyOf(request.parameters);
      const ordered = await catalog.change(askedBy(request), (draft) => orderOfRollout(draft, key, order, laneContext));
      switch (ordered.outcome) {
        case "absent":
          return absent(request.parameters);
        case "refused":
          return jsonAnswer(409, { error: `rollout "${request.parameters["name"]}" ${ordered.reason}` });
        case "ordered":
          return jsonAnswer(200, { phase: ordered.state.phase, what: ordered.state.events.at(-1)?.what ?? "" });
      }
    });
  }
}

function absent({ namespace = "", name = "" }: Readonly<Record<string, string>>): AdminAnswer {
  const error = `rollout "${name}" does not exist in namespace "${namespace}"; popmesh get rollouts -n ${namespace} lists those that do, popmesh apply -f FILE makes one`;
  return jsonAnswer(404, { error });
}
