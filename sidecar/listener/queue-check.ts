import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import type { Refusal } from "../filter/resource-name.ts";

/** What a request says of one queue of one broker. */
export interface QueueNamed {
  readonly brokerName: string;
  readonly queueId: number;
}

const brokerNamePattern = /^[a-zA-Z0-9._-]{1,127}$/;

/**
 * The queue of a request by offset. Offsets count within one queue of one broker, so both must be named: as the route shows them,
 * and as received messages carry them.
 */
export function queueNamed(queue: apache.rocketmq.v2.IMessageQueue | null | undefined): QueueNamed | Refusal {
  const brokerName = queue?.broker?.name ?? "";
  const queueId = queue?.id ?? 0;
  if (!brokerNamePattern.test(brokerName)) {
    const message = "the message queue names no broker; take a queue of the topic's route as it is";
    return { code: Code.BadRequest, message };
  }
  if (queueId < 0) {
    return { code: Code.BadRequest, message: `offsets count within one queue; ${queueId} is none of the route's` };
  }
  return { brokerName, queueId };
}
