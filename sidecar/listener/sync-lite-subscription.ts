import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import { commonNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import type { UpstreamLiteStart, UpstreamLiteSync } from "../upstream/upstream.ts";
import type { UnaryService } from "./unary-method.ts";

const v2 = apache.rocketmq.v2;

const actions: Readonly<Record<number, UpstreamLiteSync["action"]>> = {
  [v2.LiteSubscriptionAction.PARTIAL_ADD]: "add",
  [v2.LiteSubscriptionAction.PARTIAL_REMOVE]: "remove",
  [v2.LiteSubscriptionAction.COMPLETE_ADD]: "replace",
  [v2.LiteSubscriptionAction.COMPLETE_REMOVE]: "clear",
};

/**
 * SyncLiteSubscription: a lite consumer says its lite topics: each change, and every 30 s the whole set. The brokers of the parent topic keep
 * them, and answer the consumer's receives of the parent from them.
 */
export function syncLiteSubscription(
  router: Router,
): UnaryService<apache.rocketmq.v2.SyncLiteSubscriptionRequest, apache.rocketmq.v2.ISyncLiteSubscriptionResponse> {
  return {
    rpc: "SyncLiteSubscription",
    request: new GeneralCodec(v2.SyncLiteSubscriptionRequest, "apache.rocketmq.v2.SyncLiteSubscriptionRequest"),
    response: new GeneralCodec(v2.SyncLiteSubscriptionResponse, "apache.rocketmq.v2.SyncLiteSubscriptionResponse"),
    names: ({ topic, group }) => ({
      namespace: commonNamespace(topic?.resourceNamespace ?? "", group?.resourceNamespace ?? ""),
      topic: topic?.name ?? "",
      group: group?.name ?? "",
    }),
    serve(call, { action: number, liteTopicSet, offsetOption }, reply) {
      const action = actions[number];
      if (action === undefined) {
        reply(Code.BadRequest, `lite subscription action ${number} is unknown`);
        return;
      }
      router.topic(qualifiedName(call.namespace, call.topic), call.deadlineMs, (route) => {
        if (!route.ok) {
          reply(route.code, route.message);
          return;
        }
        router.groupOf(call, (group) => {
          if (!group.ok) {
            reply(group.code, group.message);
            return;
          }
          const request = { group: group.value.ref, action, liteTopics: liteTopicSet, start: startOf(offsetOption) };
          router.syncLite(call, route.value, request, (answer) => {
            if (answer.ok) reply(Code.Ok, "OK", { status: { code: Code.Ok, message: "OK" } });
            else reply(answer.code, answer.message);
          });
        });
      });
    },
  };
}

function startOf(option: apache.rocketmq.v2.OffsetOption | null): UpstreamLiteStart | undefined {
  if (option === null) return undefined;
  const { LAST, MIN, MAX } = v2.OffsetOption.Policy;
  switch (option.offsetType) {
    case "policy":
      if (option.policy === MIN) return { kind: "min" };
      if (option.policy === MAX) return { kind: "max" };
      return option.policy === LAST ? { kind: "last" } : undefined;
    case "offset":
      return { kind: "offset", value: Math.max(0, option.offset ?? 0) };
    case "tailN":
      return { kind: "tail", value: Math.max(0, option.tailN ?? 0) };
    case "timestamp":
      return { kind: "time", value: Math.max(0, option.timestamp ?? 0) };
    default:
      return undefined;
  }
}
