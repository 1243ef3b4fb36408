/**
 * Names of topics, groups, namespaces and brokers: one set of rules for what a client may name and for what the control plane keeps,
 * so that no resource can exist which nobody may name. Topics and groups follow the v2 API. A name never becomes a path of
 * the file system.
 */

export const defaultNamespace = "default";

/** Limits of the v2 API, in characters. Namespace, "/" and topic together stay within the 255 of an xDS name. */
export const namespaceLengthMax = 127;
export const topicNameLengthMax = 127;
export const groupNameLengthMax = 120;
export const brokerNameLengthMax = 127;

const nameAlphabet = "letters, digits, %, |, _ and -";
const brokerNameAlphabet = "letters, digits, ., _ and -";

/** The classic broker's own topics; clients refuse them, and so do we. */
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

/** Dead-letter topic of a group: this, then the group's name. */
export const deadLetterPrefix = "%DLQ%";

/** Prefixes in which "%" has a meaning: it separates nothing then. */
const markedPrefixes: readonly string[] = [deadLetterPrefix, "%RETRY%"];

/** Why `name` cannot be a topic; undefined when it can. */
export function topicNameProblem(name: string): string | undefined {
  const problem = nameProblem(name, topicNameLengthMax, "%|_-", nameAlphabet) ?? hiddenNamespaceProblem(name);
  if (problem !== undefined) return problem;
  return systemTopics.has(name) || name.startsWith(systemTopicPrefix) ? "is reserved by the system" : undefined;
}

/** Why `name` cannot be a consumer group; undefined when it can. */
export function groupNameProblem(name: string): string | undefined {
  const problem = nameProblem(name, groupNameLengthMax, "%|_-", nameAlphabet) ?? hiddenNamespaceProblem(name);
  if (problem !== undefined) return problem;
  return name.startsWith(systemGroupPrefix) ? "is reserved by the system" : undefined;
}

/** Why `name` cannot be a namespace; undefined when it can. */
export function namespaceProblem(name: string): string | undefined {
  return nameProblem(name, namespaceLengthMax, "%|_-", nameAlphabet);
}

/** Why `name` cannot be a broker group; undefined when it can. */
export function brokerNameProblem(name: string): string | undefined {
  return nameProblem(name, brokerNameLengthMax, "._-", brokerNameAlphabet);
}

/** "<namespace>/<name>": the key of a topic or group everywhere, and its name on xDS. */
export function qualifiedName(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** The parts of "<namespace>/<name>"; undefined when it is not of that form. Neither part is checked further. */
export function splitQualifiedName(qualified: string): { namespace: string; name: string } | undefined {
  const slash = qualified.indexOf("/");
  if (slash <= 0 || slash === qualified.length - 1) return undefined;
  return { namespace: qualified.slice(0, slash), name: qualified.slice(slash + 1) };
}

/** A name from outside as it may stand in a message: short, and without control characters. */
export function printableName(name: string): string {
  const text = JSON.stringify(name.slice(0, 64)).slice(1, -1);
  return name.length > 64 ? `${text}...` : text;
}

/**
 * "red%orders" is how classic clients write topic "orders" of namespace "red". Here it would be another topic of the caller's own
 * namespace, which nobody means who writes it.
 */
function hiddenNamespaceProblem(name: string): string | undefined {
  const prefix = markedPrefixes.find((marked) => name.startsWith(marked)) ?? "";
  return name.lastIndexOf("%") > prefix.length
    ? 'has a "%" inside, as if a namespace stood before it; namespaces are named beside the name (resource_namespace, x-mq-namespace)'
    : undefined;
}

/** No regular expression: this is asked several times per message. `signs`: what is allowed beside letters and digits. */
function nameProblem(name: string, lengthMax: number, signs: string, alphabet: string): string | undefined {
  if (name.trim() === "") return "is blank";
  if (name.length > lengthMax) return `is longer than ${lengthMax} characters`;
  for (let i = 0; i < name.length; i++) {
    if (!isLetterOrDigit(name.charCodeAt(i)) && !signs.includes(name[i]!))
      return `has a character other than ${alphabet}`;
  }
  return undefined;
}

function isLetterOrDigit(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39);
}
