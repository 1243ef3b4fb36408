import { type AdminAnswer, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { forgetBroker } from "../catalog/declare-broker.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { removeResource } from "../catalog/remove.ts";
import { type Manifest, readManifests } from "../resource/manifest.ts";
import type { ManifestMistake } from "../resource/manifest-mistake.ts";
import { askedBy, keyOf, ofNamespace, sorted } from "./api-request.ts";
import { ApplyConflict, applyManifests } from "./apply.ts";
import { diffManifests } from "./diff.ts";
import type { LaneRuleManifest } from "./lane-dry-run.ts";
import { brokerView, groupView, topicView } from "./view.ts";

export interface ApiDoors {
  readonly catalog: Catalog;
  /** Also what a namespace allows when it comes into being. */
  readonly laneContext: LaneRuleContext;
  isAlive(brokerName: string): boolean;
  /** What a rule would make of the messages since then: `dryRun`, and `text` for people; `problem`: why that is not known. */
  dryRun(rule: LaneRuleManifest, sinceMs: number): Promise<object>;
  /** Connected sidecars with what they hold, as plain data. */
  sidecars(): readonly object[];
}

/** The HTTP API of docs/control-plane.md on `server`. Every answer is JSON; every refusal has `error` and what to do. */
export function addApiRoutes(server: AdminServer, doors: ApiDoors): void {
  const { catalog } = doors;
  const tables = catalog.tables;

  server.route("GET", "/v1/brokers", () =>
    jsonAnswer(200, {
      items: sorted(tables.broker).map((record) => brokerView(record, doors.isAlive(record.name), tables)),
    }),
  );
  server.route("DELETE", "/v1/brokers/:name", async (request) => {
    const name = request.parameters["name"] ?? "";
    const forgotten = await catalog.change(askedBy(request), (draft) => forgetBroker(draft, name));
    switch (forgotten.outcome) {
      case "forgotten":
        return jsonAnswer(200, { deleted: `broker ${name}`, topics: forgotten.topics });
      case "absent":
        return jsonAnswer(404, { error: `broker "${name}" is not known; popmesh get brokers lists those that are` });
      case "alive":
        return jsonAnswer(409, { error: `broker "${name}" is alive and would register again; stop it first` });
    }
  });
  server.route("GET", "/v1/sidecars", () => jsonAnswer(200, { items: doors.sidecars() }));

  server.route("GET", "/v1/namespaces/:namespace/topics", ({ parameters }) =>
    jsonAnswer(200, { items: ofNamespace(tables.topic, parameters["namespace"]).map(topicView) }),
  );
  server.route("GET", "/v1/namespaces/:namespace/groups", ({ parameters }) =>
    jsonAnswer(200, { items: ofNamespace(tables.group, parameters["namespace"]).map(groupView) }),
  );
  server.route("GET", "/v1/namespaces/:namespace/topics/:name", ({ parameters }) => {
    const topic = tables.topic.get(keyOf(parameters));
    return topic === undefined ? absent("topic", parameters) : jsonAnswer(200, topicView(topic));
  });
  server.route("GET", "/v1/namespaces/:namespace/groups/:name", ({ parameters }) => {
    const group = tables.group.get(keyOf(parameters));
    return group === undefined ? absent("group", parameters) : jsonAnswer(200, groupView(group));
  });

  for (const [kind, path] of [
    ["topic", "topics"],
    ["group", "groups"],
  ] as const) {
    server.route("DELETE", `/v1/namespaces/:namespace/${path}/:name`, async (request) => {
      const key = keyOf(request.parameters);
      const removed = await catalog.change(askedBy(request), (draft) => removeResource(draft, kind, key));
      return removed ? jsonAnswer(200, { deleted: `${kind} ${key}` }) : absent(kind, request.parameters);
    });
  }

  server.route("POST", "/v1/apply", (request) =>
    withManifests(request.body, async (manifests) => {
      const applied = await catalog.change(askedBy(request), (draft) =>
        applyManifests(draft, manifests, doors.laneContext),
      );
      return jsonAnswer(200, { applied });
    }),
  );
  server.route("POST", "/v1/diff", (request) =>
    withManifests(request.body, async (manifests) => {
      const differences = catalog.preview(askedBy(request), (draft) =>
        diffManifests(draft, manifests, doors.laneContext),
      );
      return jsonAnswer(200, { differences });
    }),
  );
  server.route("POST", "/v1/dry-run", (request) =>
    withManifests(request.body, async (manifests) => {
      const sinceMs = Number(request.query.get("since"));
      if (!(sinceMs > 0)) return jsonAnswer(400, { error: "?since= must be a time in milliseconds since 1970" });
      const differences = catalog.preview(askedBy(request), (draft) =>
        diffManifests(draft, manifests, doors.laneContext),
      );
      const items = await Promise.all(
        manifests.map(async (manifest, i) => ({
          ...differences[i],
          ...(manifest.kind === "LaneRule" ? await doors.dryRun(manifest, sinceMs) : {}),
        })),
      );
      return jsonAnswer(200, { items });
    }),
  );
}

/** Answers 400 for a text that is no manifests and 409 for those that contradict what exists. */
async function withManifests(
  text: string,
  act: (manifests: readonly Manifest[]) => Promise<AdminAnswer>,
): Promise<AdminAnswer> {
  const reading = readManifests(text);
  if (!reading.ok) return refused(400, reading.mistakes);
  try {
    return await act(reading.manifests);
  } catch (error) {
    if (error instanceof ApplyConflict) return refused(409, error.mistakes);
    throw error;
  }
}

function refused(status: number, mistakes: readonly ManifestMistake[]): AdminAnswer {
  return jsonAnswer(status, { error: "nothing was applied", mistakes });
}

function absent(kind: "topic" | "group", parameters: Readonly<Record<string, string>>): AdminAnswer {
  const name = parameters["name"] ?? "";
  const error = `${kind} "${name}" does not exist in namespace "${parameters["namespace"]}"; create it: popmesh ${kind} create ${name}`;
  return jsonAnswer(404, { error });
}
