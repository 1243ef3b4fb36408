import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { brokerNameOfReceipt } from "./receipt-check.ts";
import type { UnaryService } from "./unary-method.ts";

const request = new GeneralCodec<apache.rocketmq.v2.EndTransactionRequest, never>(
  apache.rocketmq.v2.EndTransactionRequest,
  "apache.rocketmq.v2.EndTransactionRequest",
);
const response = new GeneralCodec<unknown, apache.rocketmq.v2.IEndTransactionResponse>(
  apache.rocketmq.v2.EndTransactionResponse,
  "apache.rocketmq.v2.EndTransactionResponse",
);

/**
 * EndTransaction: commits or rolls back a half message, by the producer's own decision or in answer to a check. The id says
 * itself which broker holds the message, so any sidecar ends any transaction; OK means that the decision is on disk.
 */
export function endTransaction(
  router: Router,
): UnaryService<apache.rocketmq.v2.EndTransactionRequest, apache.rocketmq.v2.IEndTransactionResponse> {
  return {
    rpc: "EndTransaction",
    request,
    response,
    names: ({ topic }) => ({ namespace: topic?.resourceNamespace ?? "", topic: topic?.name ?? "", group: "" }),
    serve(call, { transactionId, resolution, source }, reply) {
      // Ids begin as receipts do.
      const brokerName = brokerNameOfReceipt(transactionId);
      if (brokerName === undefined) {
        const what =
          transactionId.trim() === "" ? "the transaction id is blank" : "this is no transaction id of this mesh";
        reply(Code.InvalidTransactionId, `${what}; use the one that the send was answered with, unchanged`);
        return;
      }
      const topic = qualifiedName(call.namespace, call.topic);
      router.endTransaction(call, brokerName, { topic, transactionId, resolution, source }, (answer) => {
        if (answer.ok) reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" } });
        else reply(answer.code, answer.message);
      });
    },
  };
}
