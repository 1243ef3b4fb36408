import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { assignmentsOf, endpointsToShow, type OwnAddress } from "../route/topic-route-view.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.QueryAssignmentRequest, never>(
  apache.rocketmq.v2.QueryAssignmentRequest,
  "apache.rocketmq.v2.QueryAssignmentRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IQueryAssignmentResponse>(
  apache.rocketmq.v2.QueryAssignmentResponse,
  "apache.rocketmq.v2.QueryAssignmentResponse",
);

/**
 * QueryAssignment: what a push consumer polls. One assignment per broker, the same for every consumer of the group (in Pop mode
 * nobody owns a queue), byte for byte the same while nothing changes: clients rebuild their queues when it differs.
 */
export function queryAssignment(
  router: Router,
  own: () => OwnAddress,
): UnaryService<apache.rocketmq.v2.QueryAssignmentRequest, apache.rocketmq.v2.IQueryAssignmentResponse> {
  return {
    rpc: "QueryAssignment",
    request,
    response,
    names: ({ topic, group }) => ({
      namespace: commonNamespace(topic?.resourceNamespace ?? "", group?.resourceNamespace ?? ""),
      topic: topic?.name ?? "",
      group: group?.name ?? "",
    }),
    serve(call, request, reply) {
      router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (found) => {
        if (!found.ok) {
          reply(found.code, found.message);
          return;
        }
        const endpoints = endpointsToShow(request.endpoints, own());
        const assignments = assignmentsOf(found.value, request.topic ?? { name: call.topic }, endpoints);
        // An empty list would make a running consumer drop its queues and the messages in them.
        if (assignments.length === 0) reply(Code.Forbidden, `topic "${call.topic}" has no readable queue now`);
        else reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" }, assignments });
      });
    },
  };
}
