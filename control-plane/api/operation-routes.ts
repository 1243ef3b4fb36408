import { Code } from "../../proto/code.ts";
import {
  groupNameProblem,
  namespaceProblem,
  printableName,
  qualifiedName,
  topicNameProblem,
} from "../../proto/resource-name.ts";
import {
  type AdminAnswer,
  type AdminHandler,
  type AdminRequest,
  type AdminServer,
  jsonAnswer,
} from "../../proto/runtime/admin-server.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { noteLanes } from "../catalog/declare-broker.ts";
import type { BrokerOperator } from "../operation/broker-operator.ts";
import { type DescribedGroup, groupStatus } from "../operation/group-status.ts";
import { fromAll } from "../operation/order-to-all.ts";
import { messageTypesOf } from "../resource/topic.ts";
import { askedBy } from "./api-request.ts";

/** A connected sidecar and its admin port. */
export interface SidecarPlace {
  readonly id: string;
  readonly lane: string;
  /** "host:port"; null: it does not say. */
  readonly admin: string | null;
}

/** What operators ask of the brokers and order them, over HTTP (docs/operator-calls.md). */
export function addOperationRoutes(
  server: AdminServer,
  brokers: BrokerOperator,
  catalog: Catalog,
  sidecars: () => readonly SidecarPlace[],
): void {
  const route = (method: "GET" | "POST", path: string, handler: AdminHandler): void =>
    server.route(method, path, async (request) => {
      try {
        return await handler(request);
      } catch (error) {
        if (error instanceof MeshError) return refused(error);
        throw error;
      }
    });

  route("GET", "/v1/namespaces/:namespace/groups/:name/status", async ({ parameters }) => {
    const group = qualifiedName(parameters["namespace"] ?? "", parameters["name"] ?? "");
    return jsonAnswer(200, groupStatus(group, await brokers.callAll<DescribedGroup>("group.describe", { group })));
  });

  // The kill switch: every broker is told; of the sidecars is said where they are, for their switch is at their admin port.
  const lanes = async (method: string, order: object, by?: string): Promise<AdminAnswer> => {
    const answers = await brokers.callAll<{ readonly state: string }>(method, order);
    if (by !== undefined) {
      // The brokers say so themselves when they next look; who asks now must not be told how it stood before.
      await catalog.change(by, (draft) => {
        for (const answer of answers) if (answer.ok) noteLanes(draft, answer.broker, answer.result.state === "off");
      });
    }
    const said = answers.map((answer) =>
      answer.ok ? { broker: answer.broker, ...answer.result } : { broker: answer.broker, error: answer.error.message },
    );
    return jsonAnswer(200, { brokers: said, sidecars: sidecars() });
  };
  route("GET", "/v1/lanes", () => lanes("lanes.status", {}));
  route("POST", "/v1/lanes", (request) => {
    const by = askedBy(request);
    return lanes("lanes.switch", { ...bodyOf(request), by }, by);
  });

  // Orders and questions that go to every broker as they are; what each said stands side by side.
  for (const [path, method] of [
    ["groups/:name/reset", "group.reset"],
    ["groups/:name/adopt", "group.adopt"],
    ["groups/:name/dead-letters/list", "dlq.list"],
    ["groups/:name/dead-letters/show", "dlq.show"],
    ["groups/:name/dead-letters/redrive", "dlq.redrive"],
    ["topics/:name/export", "topic.export"],
    ["topics/:name/import", "topic.import"],
    ["messages/get", "message.get"],
    ["messages/find", "message.find"],
    ["messages/trace", "message.trace"],
  ] as const) {
    route("POST", `/v1/namespaces/:namespace/${path}`, async (request) => {
      const namespace = request.parameters["namespace"] ?? "";
      const body = bodyOf(request);
      const name = request.parameters["name"];
      refuseNames(namespace, name, path.startsWith("groups/") ? "group" : "topic");
      const topic = path.startsWith("topics/") ? name : body["topic"];
      const order = {
        ...body,
        ...(name !== undefined && path.startsWith("groups/") ? { group: qualifiedName(namespace, name) } : {}),
        ...(typeof topic === "string" ? { topic: qualifiedName(namespace, topic) } : {}),
        // An id may be in any topic; whoever asks sees those of one namespace.
        ...(method === "message.get" || method === "message.trace" ? { namespace } : {}),
        ...(method === "topic.import" ? { opening: openingOf(catalog, namespace, name ?? "") } : {}),
      };
      const only = request.query.get("broker");
      const answers = only === null ? await brokers.callAll(method, order) : [await brokers.ask(only, method, order)];
      return jsonAnswer(200, fromAll(answers));
    });
  }
}

/** What nothing can be called is not asked for at any broker. */
export function refuseNames(namespace: string, name?: string, of: "group" | "topic" = "topic"): void {
  const problemOf = of === "group" ? groupNameProblem : topicNameProblem;
  const problem = name === undefined ? undefined : problemOf(name);
  if (problem !== undefined) throw new MeshError(Code.BadRequest, `the name "${printableName(name ?? "")}" ${problem}`);
  const ofNamespace = namespaceProblem(namespace);
  if (ofNamespace !== undefined) {
    throw new MeshError(Code.BadRequest, `the namespace "${printableName(namespace)}" ${ofNamespace}`);
  }
}

/** What a broker must know of a topic before its first use, as sidecars tell it. */
function openingOf(catalog: Catalog, namespace: string, name: string): object {
  const topic = catalog.tables.topic.get(qualifiedName(namespace, name));
  if (topic === undefined) {
    throw new MeshError(Code.TopicNotFound, `topic "${name}" does not exist in namespace "${namespace}"`);
  }
  const { incarnation, type, queues } = topic;
  return { incarnation, messageTypes: messageTypesOf(type), queueCount: queues };
}

function bodyOf({ body }: AdminRequest): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = body === "" ? {} : JSON.parse(body);
  } catch (error) {
    throw new MeshError(Code.BadRequest, "the body is no JSON", { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MeshError(Code.BadRequest, "the body must be a JSON object with the parameters");
  }
  return value as Record<string, unknown>;
}

/** The HTTP status that says the same as a code of the v2 API. */
export function refused({ code, message }: MeshError): AdminAnswer {
  return jsonAnswer(httpStatusOf(code), { error: message, code });
}

function httpStatusOf(code: number): number {
  const status = Math.floor(code / 100);
  if (status === 504) return 504;
  if (status === 501) return 501;
  return status >= 400 && status < 500 ? status : 502;
}
