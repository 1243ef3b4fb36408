import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { endpointsToShow, messageQueuesOf, type OwnAddress } from "../route/topic-route-view.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.QueryRouteRequest, never>(
  apache.rocketmq.v2.QueryRouteRequest,
  "apache.rocketmq.v2.QueryRouteRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IQueryRouteResponse>(
  apache.rocketmq.v2.QueryRouteResponse,
  "apache.rocketmq.v2.QueryRouteResponse",
);

/** QueryRoute: where a topic lies, seen through this sidecar. `onAnswered` is told each client that got a route. */
export function queryRoute(
  router: Router,
  own: () => OwnAddress,
  onAnswered: (clientId: string) => void,
): UnaryService<apache.rocketmq.v2.QueryRouteRequest, apache.rocketmq.v2.IQueryRouteResponse> {
  return {
    rpc: "QueryRoute",
    request,
    response,
    names: ({ topic }) => ({ namespace: topic?.resourceNamespace ?? "", topic: topic?.name ?? "", group: "" }),
    serve(call, request, reply) {
      router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (found) => {
        if (!found.ok) {
          reply(found.code, found.message);
          return;
        }
        const endpoints = endpointsToShow(request.endpoints, own());
        const messageQueues = messageQueuesOf(found.value, request.topic ?? { name: call.topic }, endpoints);
        if (messageQueues.length === 0) {
          // OK with an empty list hangs Node.js; a topic without a usable queue is as good as absent.
          reply(Code.TopicNotFound, `topic "${call.topic}" has no readable or writable queue now`);
          return;
        }
        reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" }, messageQueues });
        onAnswered(call.clientId);
      });
    },
  };
}
