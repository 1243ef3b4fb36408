import { type AdminAnswer, type AdminHandler, type AdminServer, jsonAnswer } from "../../proto/runtime/admin-server.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { BrokerOperator } from "../operation/broker-operator.ts";
import { type DescribedGroup, groupStatus } from "../operation/group-status.ts";
import { qualifiedName } from "../resource/resource-name.ts";

/** What operators ask of the brokers and order them, over HTTP (docs/operator-calls.md). */
export function addOperationRoutes(server: AdminServer, brokers: BrokerOperator): void {
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
}

/** The HTTP status that says the same as a code of the v2 API. */
function refused({ code, message }: MeshError): AdminAnswer {
  return jsonAnswer(httpStatusOf(code), { error: message, code });
}

function httpStatusOf(code: number): number {
  const status = Math.floor(code / 100);
  if (status === 504) return 504;
  if (status === 501) return 501;
  return status >= 400 && status < 500 ? status : 502;
}
