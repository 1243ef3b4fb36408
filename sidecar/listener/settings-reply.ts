import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { backoffGrowth, backoffList } from "../route/backoff.ts";
import type { GroupPolicy } from "../route/topic-route.ts";
import type { BackoffPolicy } from "../upstream/upstream.ts";
import { ClientType, Language } from "./client-session.ts";
import { bodyBytesMax } from "./message-check.ts";
import { longPollMsMax } from "./receive-check.ts";

type Settings = apache.rocketmq.v2.ISettings;
type RetryPolicy = apache.rocketmq.v2.IRetryPolicy;

/** How producers repeat a send that failed: the reference server's figures. */
const producerBackoff: BackoffPolicy = { kind: "exponential", initialMs: 10, maxMs: 1_000, multiplier: 2 };
const producerAttemptsMax = 3;

/**
 * The Node.js push consumer waits for its polls when it shuts down and tells nobody before it has: with 20 s polls a shutdown
 * takes 20 s. Short polls cost an idle consumer a call every three seconds.
 */
const nodeJsLongPollMs = 3_000;

/** Lite consumers of some SDKs take an absent quota for 0. */
const liteSubscriptionQuota = 2_000;
const liteTopicLengthMax = 64;

/**
 * A push consumer that consumes in order works a batch off one after the other, and while a message fails in its hands, those
 * behind it wait, whatever message group they are of. The broker gives out one message of each group, so a batch of one keeps
 * the order all the same, and each group goes on by itself.
 */
const fifoBatchSize = 1;

/**
 * The answer to a client's settings: all of them, as received (C++ adopts the namespaces it finds there), plus every field
 * that one of the SDKs cannot do without. What each needs, and what happens without it, is known from their sources: a missing
 * exponential back-off crashes a Node.js producer, a missing body limit makes every send of Java, Go and C# fail, a missing
 * polling time makes Java, Go, C# and Python poll in a tight loop, and Python wants a status.
 *
 * `group` is undefined for producers. `isFifo`: all that the consumer subscribes to are FIFO topics. Where only some are it
 * consumes concurrently, and order holds too: the broker gives the next message of a group when the one before is settled.
 */
export function settingsReply(
  received: Settings,
  group: GroupPolicy | undefined,
  isFifo: boolean,
): apache.rocketmq.v2.ITelemetryCommand {
  const settings: Settings = { ...received, metric: { on: false } };
  if (received.publishing != null) {
    settings.backoffPolicy = growing(producerBackoff, producerAttemptsMax);
    settings.publishing = { ...received.publishing, maxBodySize: bodyBytesMax, validateMessageType: true };
  } else if (received.subscription != null && group !== undefined) {
    settings.backoffPolicy = consumerBackoff(received, group);
    settings.subscription = {
      ...received.subscription,
      fifo: isFifo,
      receiveBatchSize: isFifo ? fifoBatchSize : group.receiveBatchSize,
      longPollingTimeout: duration(longPollMs(received, group)),
      ...(isLite(received) ? { liteSubscriptionQuota, maxLiteTopicSize: liteTopicLengthMax } : {}),
    };
  }
  return { status: { code: Code.Ok, message: "OK" }, settings };
}

/** Node.js knows growth alone, Python lists alone; the others take what the group has. */
function consumerBackoff(received: Settings, group: GroupPolicy): RetryPolicy {
  const { backoff, attemptsMax } = group.ref;
  const language = received.userAgent?.language ?? 0;
  if (language === Language.NodeJs) return growing(backoff, attemptsMax);
  if (language === Language.Python || backoff.kind === "list") return listed(backoff, attemptsMax);
  return growing(backoff, attemptsMax);
}

function longPollMs(received: Settings, group: GroupPolicy): number {
  const isNodeJs = received.userAgent?.language === Language.NodeJs;
  return Math.min(group.longPollingMs, isNodeJs ? nodeJsLongPollMs : longPollMsMax);
}

function growing(backoff: BackoffPolicy, maxAttempts: number): RetryPolicy {
  const { initialMs, maxMs, multiplier } = backoffGrowth(backoff);
  return { maxAttempts, exponentialBackoff: { initial: duration(initialMs), max: duration(maxMs), multiplier } };
}

function listed(backoff: BackoffPolicy, maxAttempts: number): RetryPolicy {
  return { maxAttempts, customizedBackoff: { next: backoffList(backoff, Math.max(1, maxAttempts)).map(duration) } };
}

function isLite(received: Settings): boolean {
  return received.clientType === ClientType.LitePushConsumer || received.clientType === ClientType.LiteSimpleConsumer;
}

function duration(ms: number): { seconds: number; nanos: number } {
  return { seconds: Math.floor(ms / 1000), nanos: Math.round((ms % 1000) * 1e6) };
}
