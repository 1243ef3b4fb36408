import { type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { drainBroker, undrainBroker } from "../catalog/drain-broker.ts";
import { nextSpreadNumber, withBrokerAdded } from "../catalog/topic-placement.ts";
import type { DrainProgress } from "../operation/drain-keeper.ts";
import { askedBy, keyOf } from "./api-request.ts";
import { brokerView, topicView } from "./view.ts";

export interface DrainDoors {
  readonly catalog: Catalog;
  isAlive(brokerName: string): boolean;
  progress(brokerName: string): DrainProgress | undefined;
}

/** How long message groups that always have messages left on a drained broker may have new ones there. */
const patienceMsDefault = 30_000;
const patienceMsMax = 30 * 24 * 3_600_000;

/** The part of the HTTP API that says on which brokers topics lie (docs/operations.md). */
export function addDrainRoutes(server: AdminServer, { catalog, isAlive, progress }: DrainDoors): void {
  const { tables } = catalog;
  const view = (name: string) => {
    const broker = tables.broker.get(name);
    if (broker === undefined) return absent(name);
    const { status, ...rest } = brokerView(broker, isAlive(name), tables);
    const left = progress(name);
    return jsonAnswer(200, { ...rest, status: { ...status, ...(left === undefined ? {} : { left }) } });
  };

  server.route("GET", "/v1/brokers/:name", ({ parameters }) => view(parameters["name"] ?? ""));
  server.route("POST", "/v1/brokers/:name/drain", async (request) => {
    const name = request.parameters["name"] ?? "";
    const patienceMs = Number(request.query.get("patienceMs") ?? patienceMsDefault);
    if (!(patienceMs >= 0 && patienceMs <= patienceMsMax)) {
      return jsonAnswer(400, { error: `patienceMs must be a number of milliseconds up to ${patienceMsMax}` });
    }
    const drained = await catalog.change(askedBy(request), (draft) => drainBroker(draft, name, patienceMs));
    switch (drained.outcome) {
      case "absent":
        return absent(name);
      case "alone": {
        const error =
          `broker "${name}" holds ${drained.topics} topics, and no other broker is there to take them; ` +
          "start one, wait until popmesh get brokers shows it, then drain this one";
        return jsonAnswer(409, { error });
      }
      default:
        return view(name);
    }
  });
  server.route("POST", "/v1/brokers/:name/undrain", async (request) => {
    const name = request.parameters["name"] ?? "";
    if (tables.broker.get(name) === undefined) return absent(name);
    await catalog.change(askedBy(request), (draft) => undrainBroker(draft, name));
    return view(name);
  });
  server.route("POST", "/v1/namespaces/:namespace/topics/:name/brokers/:broker", async (request) => {
    const key = keyOf(request.parameters);
    const name = request.parameters["broker"] ?? "";
    const broker = tables.broker.get(name);
    if (broker === undefined) return absent(name);
    if (broker.drain !== undefined || broker.state !== "serving" || !isAlive(name)) {
      return jsonAnswer(409, { error: `broker "${name}" is not serving, so it gets no topics; choose another` });
    }
    const record = await catalog.change(askedBy(request), (draft) => {
      const topic = draft.get("topic", key);
      if (topic !== undefined && !topic.placement.includes(name)) {
        draft.put("topic", key, withBrokerAdded(topic, name, nextSpreadNumber(draft)));
      }
      return draft.get("topic", key);
    });
    if (record !== undefined) return jsonAnswer(200, topicView(record));
    const { namespace, name: topic } = request.parameters;
    return jsonAnswer(404, { error: `topic "${topic}" does not exist in namespace "${namespace}"` });
  });
}

function absent(name: string) {
  return jsonAnswer(404, { error: `broker "${name}" is not known; popmesh get brokers lists those that are` });
}
