import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { ClientSessions } from "./client-session.ts";
import { brokerNameOfReceipt } from "./receipt-check.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.ForwardMessageToDeadLetterQueueRequest, never>(
  apache.rocketmq.v2.ForwardMessageToDeadLetterQueueRequest,
  "apache.rocketmq.v2.ForwardMessageToDeadLetterQueueRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IForwardMessageToDeadLetterQueueResponse>(
  apache.rocketmq.v2.ForwardMessageToDeadLetterQueueResponse,
  "apache.rocketmq.v2.ForwardMessageToDeadLetterQueueResponse",
);

/**
 * ForwardMessageToDeadLetterQueue: a consumer gives a message up. FIFO consumers do so after their last local attempt and repeat
 * it every second until it is OK, so a message that this receipt has settled already is OK again.
 */
export function forwardToDeadLetterQueue(
  router: Router,
  sessions: ClientSessions,
  renewal: AutoRenewal,
): UnaryService<
  apache.rocketmq.v2.ForwardMessageToDeadLetterQueueRequest,
  apache.rocketmq.v2.IForwardMessageToDeadLetterQueueResponse
> {
  return {
    rpc: "ForwardMessageToDeadLetterQueue",
    request,
    response,
    names: ({ group, topic }) => ({
      namespace: commonNamespace(group?.resourceNamespace ?? "", topic?.resourceNamespace ?? ""),
      topic: topic?.name ?? "",
      group: group?.name ?? "",
    }),
    serve(call, { receiptHandle }, reply) {
      const brokerName = brokerNameOfReceipt(receiptHandle);
      if (brokerName === undefined) {
        const message = "this is no receipt handle of this mesh; use the handle of the received message unchanged";
        reply(Code.InvalidReceiptHandle, message);
        return;
      }
      router.groupOf(call, (found) => {
        if (!found.ok) {
          reply(found.code, found.message);
          return;
        }
        const session = sessions.touch(call.clientId, call.startedMs);
        const held = renewal.release(session, receiptHandle);
        router.deadLetter(call, found.value.ref, brokerName, [receiptHandle], (answer) => {
          const result = answer.ok ? answer.results[0] : answer;
          const code = result?.code ?? Code.InternalServerError;
          // Still the client's to settle: keep it alive as before.
          if (held !== undefined && code !== Code.Ok && code !== Code.InvalidReceiptHandle) renewal.hold(session, held);
          if (code === Code.Ok) reply(code, "OK", { status: { code, message: "OK" } });
          else reply(code, result?.message || "the broker gave no result");
        });
      });
    },
  };
}
