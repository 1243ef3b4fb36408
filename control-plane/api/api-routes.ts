import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminAnswer, type AdminRequest, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { forgetBroker } from "../catalog/declare-broker.ts";
import { removeResource } from "../catalog/remove.ts";
import { type ManifestMistake, readManifests } from "../resource/manifest.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import { ApplyConflict, applyManifests } from "./apply.ts";
import { brokerView, groupView, namespaceView, topicView } from "./view.ts";

export interface ApiDoors {
  readonly catalog: Catalog;
  /** What a namespace allows when it comes into being. */
  readonly namespaceDefaults: NamespaceSpec;
  isAlive(brokerName: string): boolean;
  /** Connected sidecars with what they hold, as plain data. */
  sidecars(): readonly object[];
}

/** The HTTP API of docs/control-plane.md on `server`. Every answer is JSON; every refusal has `error` and what to do. */
export function addApiRoutes(server: AdminServer, doors: ApiDoors): void {
  const { catalog } = doors;
  const tables = catalog.tables;

  server.route("GET", "/v1/namespaces", () =>
    jsonAnswer(200, { items: sorted(tables.namespace).map((record) => namespaceView(record)) }),
  );
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

  server.route("POST", "/v1/apply", async (request) => {
    const reading = readManifests(request.body);
    if (!reading.ok) return refused(400, reading.mistakes);
    try {
      const applied = await catalog.change(askedBy(request), (draft) =>
        applyManifests(draft, reading.manifests, doors.namespaceDefaults),
      );
      return jsonAnswer(200, { applied });
    } catch (error) {
      if (error instanceof ApplyConflict) return refused(409, error.mistakes);
      throw error;
    }
  });
}

function refused(status: number, mistakes: readonly ManifestMistake[]): AdminAnswer {
  return jsonAnswer(status, { error: "nothing was applied", mistakes });
}

function absent(kind: "topic" | "group", parameters: Readonly<Record<string, string>>): AdminAnswer {
  const name = parameters["name"] ?? "";
  const error = `${kind} "${name}" does not exist in namespace "${parameters["namespace"]}"; create it: popmesh ${kind} create ${name}`;
  return jsonAnswer(404, { error });
}

function keyOf(parameters: Readonly<Record<string, string>>): string {
  return qualifiedName(parameters["namespace"] ?? "", parameters["name"] ?? "");
}

function sorted<R>(table: ReadonlyMap<string, R>): R[] {
  return [...table].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}

function ofNamespace<R extends { readonly namespace: string }>(table: ReadonlyMap<string, R>, namespace = ""): R[] {
  return sorted(table).filter((record) => record.namespace === namespace);
}

/** For the audit trail; what a client says of itself, shortened. */
function askedBy(request: AdminRequest): string {
  return `http:${(request.header("x-popmesh-client") ?? "").slice(0, 64)}`;
}
