import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { MeshCall } from "../filter/filter.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { GroupPolicy, TopicRoute } from "../route/topic-route.ts";
import type { UpstreamOffset } from "../upstream/upstream.ts";
import { queueNamed } from "./queue-check.ts";
import type { CallNames, Reply, UnaryService } from "./unary-method.ts";

const v2 = apache.rocketmq.v2;
type Queue = apache.rocketmq.v2.IMessageQueue | null | undefined;
type Group = apache.rocketmq.v2.IResource | null | undefined;

/*
 * The RPCs on offsets. The schema has them since 2.0.3, no official SDK calls them; docs/offsets.md says what they mean here.
 */

/** QueryOffset: the first offset that a queue holds, the next to be written, or the first message of a time. */
export function queryOffset(
  router: Router,
): UnaryService<apache.rocketmq.v2.QueryOffsetRequest, apache.rocketmq.v2.IQueryOffsetResponse> {
  const { BEGINNING, END, TIMESTAMP } = v2.QueryOffsetPolicy;
  return {
    rpc: "QueryOffset",
    request: new GeneralCodec(v2.QueryOffsetRequest, "apache.rocketmq.v2.QueryOffsetRequest"),
    response: new GeneralCodec(v2.QueryOffsetResponse, "apache.rocketmq.v2.QueryOffsetResponse"),
    names: ({ messageQueue }) => namesOf(messageQueue, undefined),
    serve(call, { messageQueue, queryOffsetPolicy, timestamp }, reply) {
      switch (queryOffsetPolicy) {
        case BEGINNING:
        case END: {
          const policy = queryOffsetPolicy === END ? "end" : "begin";
          ask(router, call, messageQueue, reply, (topic, queueId) => ({ topic, queueId, policy }));
          return;
        }
        case TIMESTAMP: {
          if (timestamp == null) {
            reply(Code.BadRequest, "the policy TIMESTAMP needs a timestamp");
            return;
          }
          const timeMs = Math.max(0, timestamp.seconds * 1000 + Math.ceil(timestamp.nanos / 1e6));
          ask(router, call, messageQueue, reply, (topic, queueId) => ({ topic, queueId, policy: "time", timeMs }));
          return;
        }
        default:
          reply(Code.BadRequest, `offset policy ${queryOffsetPolicy} is unknown; use BEGINNING, END or TIMESTAMP`);
      }
    },
  };
}

/** GetOffset: where a group goes on in a queue. */
export function getOffset(
  router: Router,
): UnaryService<apache.rocketmq.v2.GetOffsetRequest, apache.rocketmq.v2.IGetOffsetResponse> {
  return {
    rpc: "GetOffset",
    request: new GeneralCodec(v2.GetOffsetRequest, "apache.rocketmq.v2.GetOffsetRequest"),
    response: new GeneralCodec(v2.GetOffsetResponse, "apache.rocketmq.v2.GetOffsetResponse"),
    names: ({ messageQueue, group }) => namesOf(messageQueue, group),
    serve(call, { messageQueue }, reply) {
      withGroup(router, call, reply, (group) =>
        ask(router, call, messageQueue, reply, (topic, queueId) => ({
          ...{ topic, queueId, policy: "group", group: group.ref },
        })),
      );
    },
  };
}

/** UpdateOffset: the group goes on elsewhere in a queue. */
export function updateOffset(
  router: Router,
): UnaryService<apache.rocketmq.v2.UpdateOffsetRequest, apache.rocketmq.v2.IUpdateOffsetResponse> {
  return {
    rpc: "UpdateOffset",
    request: new GeneralCodec(v2.UpdateOffsetRequest, "apache.rocketmq.v2.UpdateOffsetRequest"),
    response: new GeneralCodec(v2.UpdateOffsetResponse, "apache.rocketmq.v2.UpdateOffsetResponse"),
    names: ({ messageQueue, group }) => namesOf(messageQueue, group),
    serve(call, { messageQueue, offset }, reply) {
      if (offset < 0) {
        reply(Code.IllegalOffset, `an offset is 0 or more, not ${offset}`);
        return;
      }
      withGroup(router, call, reply, (group) =>
        ask(router, call, messageQueue, reply, (topic, queueId) => ({
          ...{ topic, queueId, policy: "set-group", group: group.ref, offset },
        })),
      );
    },
  };
}

function namesOf(queue: Queue, group: Group): CallNames {
  return {
    namespace: commonNamespace(queue?.topic?.resourceNamespace ?? "", group?.resourceNamespace ?? ""),
    topic: queue?.topic?.name ?? "",
    group: group?.name ?? "",
  };
}

function withGroup(router: Router, call: MeshCall, reply: Reply<never>, act: (group: GroupPolicy) => void): void {
  router.groupOf(call, (found) => {
    if (found.ok) act(found.value);
    else reply(found.code, found.message);
  });
}

/** Asks the broker that the queue names; the answer has the offset in field `offset`, where the response has one. */
function ask(
  router: Router,
  call: MeshCall,
  queue: Queue,
  reply: Reply<{ status: { code: Code; message: string }; offset: number }>,
  request: (topic: TopicRoute["ref"], queueId: number) => UpstreamOffset,
): void {
  const named = queueNamed(queue);
  if ("code" in named) {
    reply(named.code, named.message);
    return;
  }
  router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (found) => {
    if (!found.ok) {
      reply(found.code, found.message);
      return;
    }
    router.offset(call, named.brokerName, request(found.value.ref, named.queueId), (answer) => {
      if (answer.ok) reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" }, offset: answer.offset });
      else reply(answer.code, answer.message);
    });
  });
}
