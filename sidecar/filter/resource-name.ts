import { Code } from "../../proto/code.ts";

/**
 * Names of topics and consumer groups as the v2 API allows them. Node.js clients check nothing themselves, so these checks
 * are often the only ones.
 */

/** Length limits of the API, in characters. */
export const topicNameLengthMax = 127;
export const groupNameLengthMax = 120;

/** Names of the classic broker's own topics; clients must not use them. */
const systemTopics: ReadonlySet<string> = new Set([
  "TBW102",
  "SCHEDULE_TOPIC_XXXX",
  "BenchmarkTest",
  "RMQ_SYS_TRANS_HALF_TOPIC",
  "RMQ_SYS_TRACE_TOPIC",
  "RMQ_SYS_TRANS_OP_HALF_TOPIC",
  "TRANS_CHECK_MAX_TIME_TOPIC",
  "SELF_TEST_TOPIC",
  "OFFSET_MOVED_EVENT",
  "CHECKPOINT_TOPIC",
]);
const systemTopicPrefix = "rmq_sys_";
const systemGroupPrefix = "CID_RMQ_SYS_";

/** Why a request cannot be served; what the client is told. */
export interface Refusal {
  readonly code: Code;
  readonly message: string;
}

/** Undefined when a client may use this topic. */
export function refuseTopicName(name: string): Refusal | undefined {
  const reason = wrongName(name, topicNameLengthMax);
  if (reason !== undefined) return { code: Code.IllegalTopic, message: `topic "${printable(name)}" ${reason}` };
  if (systemTopics.has(name) || name.startsWith(systemTopicPrefix)) {
    return { code: Code.IllegalTopic, message: `topic "${name}" is reserved by the system; choose another name` };
  }
  return undefined;
}

/** Undefined when a client may use this consumer group. */
export function refuseGroupName(name: string): Refusal | undefined {
  const reason = wrongName(name, groupNameLengthMax);
  if (reason !== undefined) {
    return { code: Code.IllegalConsumerGroup, message: `consumer group "${printable(name)}" ${reason}` };
  }
  if (name.startsWith(systemGroupPrefix)) {
    return {
      code: Code.IllegalConsumerGroup,
      message: `consumer group "${name}" is reserved by the system; choose another name`,
    };
  }
  return undefined;
}

/** Undefined when this can be a namespace. */
export function refuseNamespace(name: string): Refusal | undefined {
  const reason = wrongName(name, topicNameLengthMax);
  return reason === undefined
    ? undefined
    : { code: Code.BadRequest, message: `namespace "${printable(name)}" ${reason}` };
}

/**
 * SDKs disagree about where they put the namespace: in the resource, in the header, or in both. The resource wins, then
 * the header, then the sidecar's own default.
 */
export function effectiveNamespace(ofResource: string, ofHeader: string, fallback: string): string {
  return ofResource !== "" ? ofResource : ofHeader !== "" ? ofHeader : fallback;
}

/** The name under which a topic or group is known to the mesh. */
export function qualifiedName(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function wrongName(name: string, lengthMax: number): string | undefined {
  if (name.trim() === "") return "is blank";
  if (name.length > lengthMax) return `is longer than ${lengthMax} characters`;
  for (let i = 0; i < name.length; i++) {
    if (!isNameCharacter(name.charCodeAt(i))) {
      return "has a character other than letters, digits, %, |, _ and -";
    }
  }
  return undefined;
}

function isNameCharacter(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) || // a-z
    (code >= 0x41 && code <= 0x5a) || // A-Z
    (code >= 0x30 && code <= 0x39) || // 0-9
    code === 0x25 || // %
    code === 0x7c || // |
    code === 0x5f || // _
    code === 0x2d // -
  );
}

/** A name as it may stand in an answer: short, and without control characters. */
function printable(name: string): string {
  const text = JSON.stringify(name.slice(0, 64)).slice(1, -1);
  return name.length > 64 ? `${text}...` : text;
}

/** "<namespace>/<topic>" → "<topic>": clients know topics by their plain name. */
export function plainName(name: string): string {
  return name.slice(name.indexOf("/") + 1);
}
