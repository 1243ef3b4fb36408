import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { acceptedMessageTypes, MessageType } from "../route/route-match.ts";
import { brokerNameOfRecallHandle } from "./receipt-check.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.RecallMessageRequest, never>(
  apache.rocketmq.v2.RecallMessageRequest,
  "apache.rocketmq.v2.RecallMessageRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IRecallMessageResponse>(
  apache.rocketmq.v2.RecallMessageResponse,
  "apache.rocketmq.v2.RecallMessageResponse",
);

/**
 * RecallMessage: takes back a timed message that has not been released yet. The handle says itself which broker holds the
 * message, so any sidecar recalls any; OK means that the recall is on disk, and that nobody will ever see the message.
 */
export function recallMessage(
  router: Router,
): UnaryService<apache.rocketmq.v2.RecallMessageRequest, apache.rocketmq.v2.IRecallMessageResponse> {
  return {
    rpc: "RecallMessage",
    request,
    response,
    names: ({ topic }) => ({ namespace: topic?.resourceNamespace ?? "", topic: topic?.name ?? "", group: "" }),
    serve(call, { recallHandle }, reply) {
      // Handles begin as receipts do.
      const brokerName = brokerNameOfRecallHandle(recallHandle);
      if (brokerName === undefined) {
        const what =
          recallHandle.trim() === "" ? "the recall handle is blank" : "this is no recall handle of this mesh";
        reply(Code.BadRequest, `${what}; use the one that the send was answered with, unchanged`);
        return;
      }
      router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (found) => {
        if (!found.ok) {
          reply(found.code, found.message);
          return;
        }
        if (!acceptedMessageTypes(found.value.ref.messageTypes).includes(MessageType.Delay)) {
          const message = `topic ${found.value.ref.name} takes no DELAY messages, so there is nothing to recall`;
          reply(Code.MessagePropertyConflictWithType, message);
          return;
        }
        router.recall(call, brokerName, { topic: found.value.ref, recallHandle }, (answer) => {
          if (!answer.ok) reply(answer.code, answer.message);
          else reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" }, messageId: answer.messageId });
        });
      });
    },
  };
}
