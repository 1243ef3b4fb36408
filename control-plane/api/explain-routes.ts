import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { type AdminHandler, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { groupLines, type WaitingRule, waitingLines } from "../explain/explain-group.ts";
import { messageLines, wouldLines } from "../explain/explain-message.ts";
import type { ExplainedCopy, ExplainedGroup, ExplainedTopicOfGroup } from "../explain/explained.ts";
import type { BrokerOperator } from "../operation/broker-operator.ts";
import type { LaneRuleStanding } from "../operation/lane-publisher.ts";
import { fromAll, isAbsence } from "../operation/order-to-all.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import { refused, refuseNames } from "./operation-routes.ts";

export interface ExplainDoors {
  readonly catalog: Catalog;
  readonly brokers: BrokerOperator;
  readonly standings: (rule: LaneRuleRecord) => readonly LaneRuleStanding[];
  /** Lanes of the connected sidecars. */
  readonly sidecarLanes: () => readonly string[];
}

const messageAsked = z.strictObject({ id: z.string().min(1), topic: z.string().optional() });
/** As `lane.evaluate` takes it; the brokers check the rest. */
const wouldAsked = z.looseObject({ topic: z.string(), group: z.string().optional() });

/** Why messages go where they go, in sentences (`text`) and as data (docs/explain.md, L12). */
export function addExplainRoutes(server: AdminServer, doors: ExplainDoors): void {
  const { brokers } = doors;
  const route = (method: "GET" | "POST", path: string, handler: AdminHandler): void =>
    server.route(method, `/v1/namespaces/:namespace/explain/${path}`, async (request) => {
      try {
        return await handler(request);
      } catch (error) {
        if (error instanceof MeshError) return refused(error);
        throw error;
      }
    });

  route("POST", "message", async ({ parameters: { namespace = "" }, body }) => {
    const { id, topic } = asked(messageAsked, body);
    refuseNames(namespace);
    const order = { id, namespace, ...(topic === undefined ? {} : { topic: qualifiedName(namespace, topic) }) };
    const said = fromAll(await brokers.callAll<{ items: ExplainedCopy[] }>("message.explain", order));
    const lines = said.brokers.flatMap(({ broker, items }) => items.flatMap((copy) => messageLines(broker, copy)));
    return jsonAnswer(200, { id, ...said, text: lines.join("\n") });
  });

  route("POST", "would", async ({ parameters: { namespace = "" }, body }) => {
    const { topic, group, ...message } = asked(wouldAsked, body);
    refuseNames(namespace);
    const order = {
      ...message,
      topic: qualifiedName(namespace, topic),
      ...(group === undefined ? {} : { group: qualifiedName(namespace, group) }),
    };
    const said = fromAll(await brokers.callAll<{ groups: ExplainedGroup[] }>("lane.evaluate", order));
    return jsonAnswer(200, { ...said, text: wouldLines(order.topic, said.brokers).join("\n") });
  });

  route("GET", "groups/:name", async ({ parameters: { namespace = "", name = "" }, query }) => {
    refuseNames(namespace, name, "group");
    const group = qualifiedName(namespace, name);
    const topic = query.get("topic");
    const lane = query.get("lane") ?? undefined;
    const order = { group, ...(topic === null ? {} : { topic: qualifiedName(namespace, topic) }) };
    const answers = await brokers.callAll<{ topics: ExplainedTopicOfGroup[] }>("lane.group", order);
    const read = new Set(answers.flatMap((each) => (each.ok ? each.result.topics.map((told) => told.topic) : [])));
    const waiting = waitingRules(doors, namespace, name, topic).filter((rule) => !read.has(rule.topic));
    const isUnread = answers.length > 0 && answers.every((each) => !each.ok && isAbsence(each.error.code));
    const said = isUnread && waiting.length > 0 ? { brokers: [], unanswered: [] } : fromAll(answers);
    const sidecarLanes = doors.sidecarLanes();
    const lines = said.brokers.flatMap(({ broker, topics }) =>
      topics.flatMap((told) => {
        const behind = behindAt(doors, broker, namespace, told.topic, name);
        return groupLines(group, broker, told, { sidecarLanes, behind }, lane);
      }),
    );
    lines.push(...waitingLines(group, waiting));
    return jsonAnswer(200, { group, ...said, waiting, text: lines.join("\n") });
  });
}

/** The rules that name a group, or that are for every group of the topic that is asked about. */
function waitingRules(
  { catalog, standings }: ExplainDoors,
  namespace: string,
  group: string,
  topic: string | null,
): WaitingRule[] {
  const rules = [...catalog.tables.laneRule.values()].filter(
    (rule) => rule.namespace === namespace && (topic === null || rule.topic === topic),
  );
  const own = rules.filter((rule) => rule.group === group);
  const chosen = own.length > 0 || topic === null ? own : rules.filter((rule) => rule.group === "");
  return chosen.map((rule) => {
    const all = standings(rule);
    return {
      name: qualifiedName(namespace, rule.name),
      number: rule.generation,
      group: rule.group,
      topic: qualifiedName(namespace, rule.topic),
      clauses: rule.clauses,
      brokers: all.length,
      inForce: all.filter(({ state }) => state === "in force").length,
    };
  });
}

/** The rules for a group in a topic that a broker does not have as they are here. */
function behindAt(
  { catalog, standings }: ExplainDoors,
  broker: string,
  namespace: string,
  topic: string,
  group: string,
): string[] {
  const rules = [...catalog.tables.laneRule.values()].filter(
    (rule) =>
      rule.namespace === namespace &&
      qualifiedName(namespace, rule.topic) === topic &&
      (rule.group === "" || rule.group === group),
  );
  return rules.flatMap((rule) =>
    standings(rule)
      .filter((standing) => standing.broker === broker && standing.state !== "in force")
      .map(({ state, reason }) => {
        const why = reason === undefined ? "" : `: ${reason}`;
        return `Version ${rule.generation} of rule ${namespace}/${rule.name} is not in force here: ${state}${why}.`;
      }),
  );
}

function asked<T>(shape: z.ZodType<T>, body: string): T {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new MeshError(Code.BadRequest, "the body is no JSON", { cause: error });
  }
  const read = shape.safeParse(value);
  if (read.success) return read.data;
  const [first] = read.error.issues;
  throw new MeshError(Code.BadRequest, `${first?.path.join(".") ?? ""}: ${first?.message ?? "not understood"}`);
}
