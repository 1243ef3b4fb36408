import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { ClientSessions } from "./client-session.ts";
import type { LaneConsumers } from "./lane-consumers.ts";
import type { LiveProducers } from "./live-producers.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.NotifyClientTerminationRequest, never>(
  apache.rocketmq.v2.NotifyClientTerminationRequest,
  "apache.rocketmq.v2.NotifyClientTerminationRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.INotifyClientTerminationResponse>(
  apache.rocketmq.v2.NotifyClientTerminationResponse,
  "apache.rocketmq.v2.NotifyClientTerminationResponse",
);

/**
 * NotifyClientTermination: the client stops. Its waiting receives end, what it holds goes back, and the answer is always OK: an
 * SDK whose goodbye fails stops half way.
 */
export function notifyClientTermination(
  sessions: ClientSessions,
  renewal: AutoRenewal,
  producers: LiveProducers,
  consumers: LaneConsumers | undefined,
): UnaryService<
  apache.rocketmq.v2.NotifyClientTerminationRequest,
  apache.rocketmq.v2.INotifyClientTerminationResponse
> {
  return {
    rpc: "NotifyClientTermination",
    request,
    response,
    // The group is not looked at: Go sends an empty one for producers.
    names: ({ group }) => ({ namespace: group?.resourceNamespace ?? "", topic: "", group: "" }),
    serve(call, _request, reply) {
      const session = sessions.get(call.clientId);
      if (session !== undefined) {
        for (const poll of [...session.polls]) poll.end();
        renewal.releaseAll(session);
        producers.update(session, true);
        consumers?.forget(session);
        sessions.forget(session);
      }
      reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" } });
    },
  };
}
