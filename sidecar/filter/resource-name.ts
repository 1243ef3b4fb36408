import { Code } from "../../proto/code.ts";
import { groupNameProblem, namespaceProblem, printableName, topicNameProblem } from "../../proto/resource-name.ts";

/**
 * Names as clients say them, and the codes by which wrong ones are refused. Node.js clients check nothing themselves, so these
 * checks are often the only ones.
 */

/** Why a request cannot be served; what the client is told. */
export interface Refusal {
  readonly code: Code;
  readonly message: string;
}

/** Undefined when a client may use this topic. */
export function refuseTopicName(name: string): Refusal | undefined {
  return refusal(Code.IllegalTopic, "topic", name, topicNameProblem(name));
}

/** Undefined when a client may use this consumer group. */
export function refuseGroupName(name: string): Refusal | undefined {
  return refusal(Code.IllegalConsumerGroup, "consumer group", name, groupNameProblem(name));
}

/** Undefined when this can be a namespace. */
export function refuseNamespace(name: string): Refusal | undefined {
  if (name.includes(conflictMark)) {
    const text = `topic and group of one call are of two namespaces, ${printableName(name)}; a call is about one`;
    return { code: Code.BadRequest, message: text };
  }
  return refusal(Code.BadRequest, "namespace", name, namespaceProblem(name));
}

/**
 * SDKs disagree about where they put the namespace: in the resource, in the header, or in both. The resource wins, then
 * the header, then the sidecar's own default.
 */
export function effectiveNamespace(ofResource: string, ofHeader: string, fallback: string): string {
  return ofResource !== "" ? ofResource : ofHeader !== "" ? ofHeader : fallback;
}

/** Between two namespaces of one call; in no name. */
const conflictMark = " and ";

/**
 * The one namespace of a call that names a topic and a group: either may leave it to the other. Where they contradict each other, a
 * text that is no namespace; `refuseNamespace` says so.
 */
export function commonNamespace(ofOne: string, ofOther: string): string {
  if (ofOne === "" || ofOther === "" || ofOne === ofOther) return ofOne === "" ? ofOther : ofOne;
  return `${ofOne}${conflictMark}${ofOther}`;
}

/** "<namespace>/<topic>" → "<topic>": clients know topics by their plain name. */
export function plainName(name: string): string {
  return name.slice(name.indexOf("/") + 1);
}

function refusal(code: Code, what: string, name: string, problem: string | undefined): Refusal | undefined {
  if (problem === undefined) return undefined;
  return { code, message: `${what} "${printableName(name)}" ${problem}; choose another name` };
}
