import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { type Refusal, refuseGroupName, refuseTopicName } from "../filter/resource-name.ts";
import { refuseFilter } from "./receive-check.ts";

type Settings = apache.rocketmq.v2.ISettings;

/** Limits of `client_properties`. */
const propertiesMax = 32;
const keyPattern = /^[a-zA-Z][a-zA-Z0-9_.-]{0,63}$/;
const reservedKeyPrefix = "rocketmq.";
const valueLengthMax = 256;
const propertiesBytesMax = 4 * 1024;

/** Undefined when a client with these settings can be served. A topic need not exist: QueryRoute says so better. */
export function refuseSettings(settings: Settings): Refusal | undefined {
  return (
    refuseBranch(settings) ??
    refusePublishing(settings.publishing) ??
    refuseSubscription(settings.subscription) ??
    refuseProperties(settings.clientProperties)
  );
}

function refuseBranch({ publishing, subscription }: Settings): Refusal | undefined {
  if (publishing != null || subscription != null) return undefined;
  return { code: Code.BadRequest, message: "the settings are neither a producer's nor a consumer's" };
}

function refusePublishing(publishing: Settings["publishing"]): Refusal | undefined {
  for (const topic of publishing?.topics ?? []) {
    const refusal = refuseTopicName(topic.name ?? "");
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function refuseSubscription(subscription: Settings["subscription"]): Refusal | undefined {
  if (subscription == null) return undefined;
  const refusal = refuseGroupName(subscription.group?.name ?? "");
  if (refusal !== undefined) return refusal;
  for (const { topic, expression } of subscription.subscriptions ?? []) {
    const refusal =
      refuseTopicName(topic?.name ?? "") ?? refuseFilter(expression?.type ?? 0, expression?.expression ?? "");
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function refuseProperties(properties: Settings["clientProperties"]): Refusal | undefined {
  const entries = Object.entries(properties ?? {});
  if (entries.length > propertiesMax) return illegal(`has ${entries.length} entries, ${propertiesMax} are allowed`);
  let bytes = 0;
  for (const [key, value] of entries) {
    if (!keyPattern.test(key)) return illegal(`has the key "${key.slice(0, 64)}": letters, digits, _ . - up to 64`);
    if (key.startsWith(reservedKeyPrefix)) return illegal(`has the reserved key "${key}"`);
    if (value.length > valueLengthMax) return illegal(`has a value longer than ${valueLengthMax} under "${key}"`);
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  return bytes > propertiesBytesMax ? illegal(`has ${bytes} bytes, ${propertiesBytesMax} are allowed`) : undefined;
}

function illegal(what: string): Refusal {
  return { code: Code.InvalidClientProperties, message: `client_properties ${what}` };
}
