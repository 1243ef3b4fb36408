import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { type ClientSessions, ClientType } from "./client-session.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.HeartbeatRequest, never>(
  apache.rocketmq.v2.HeartbeatRequest,
  "apache.rocketmq.v2.HeartbeatRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IHeartbeatResponse>(
  apache.rocketmq.v2.HeartbeatResponse,
  "apache.rocketmq.v2.HeartbeatResponse",
);

/**
 * Heartbeat: a sign of life. Clients whose settings are unknown (after a restart of the sidecar some send none for
 * minutes, some never again) are registered from it with defaults; it never fails for that reason.
 */
export function heartbeat(
  sessions: ClientSessions,
): UnaryService<apache.rocketmq.v2.HeartbeatRequest, apache.rocketmq.v2.IHeartbeatResponse> {
  return {
    rpc: "Heartbeat",
    request,
    response,
    names: ({ clientType, group }) => ({
      namespace: group?.resourceNamespace ?? "",
      topic: "",
      // Producers have no group; some send an empty or odd one.
      group: clientType === ClientType.Producer ? "" : (group?.name ?? ""),
    }),
    serve(call, request, reply) {
      const session = sessions.touch(call.clientId, call.startedMs);
      if (session.clientType === 0) session.clientType = request.clientType;
      if (session.group === "" && call.group !== "") session.group = qualifiedName(call.namespace, call.group);
      reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" } });
    },
  };
}
