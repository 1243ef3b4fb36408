import { Code } from "../../proto/code.ts";
import {
  deadLetterPrefix,
  defaultNamespace,
  groupNameProblem,
  namespaceProblem,
  printableName,
  qualifiedName,
  splitQualifiedName,
  topicNameProblem,
} from "../../proto/resource-name.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { type Declared, declareGroup, declareTopic } from "./declare.ts";

/** What the sidecar that asked is told; `code` is Ok when the resource exists now. */
export interface EnsureOutcome {
  readonly code: Code;
  readonly message: string;
}

const exists: EnsureOutcome = Object.freeze({ code: Code.Ok, message: "" });

/**
 * A topic is used that may not exist. It is created, with the defaults, where the namespace's policy allows that; the
 * dead-letter topic of an existing group always, for it comes with the group.
 */
export function ensureTopic(draft: CatalogDraft, qualified: string, namespaceDefaults: NamespaceSpec): EnsureOutcome {
  const parts = checkedName(qualified, "topic", topicNameProblem, Code.IllegalTopic);
  if ("code" in parts) return parts;
  const { namespace, name } = parts;
  if (draft.get("topic", qualified) !== undefined) return exists;
  const group = name.startsWith(deadLetterPrefix) ? name.slice(deadLetterPrefix.length) : undefined;
  if (group !== undefined && draft.get("group", qualifiedName(namespace, group)) !== undefined) {
    const said = { type: "mixed", state: "readOnly" } as const;
    return outcomeOf(declareTopic(draft, namespace, name, said, namespaceDefaults), "topic", name);
  }
  if (!(draft.get("namespace", namespace) ?? namespaceDefaults).autoCreateTopics) {
    return { code: Code.TopicNotFound, message: refusal("topic", namespace, name) };
  }
  return outcomeOf(declareTopic(draft, namespace, name, {}, namespaceDefaults), "topic", name);
}

/** A consumer group is used that may not exist; as with topics. */
export function ensureGroup(draft: CatalogDraft, qualified: string, namespaceDefaults: NamespaceSpec): EnsureOutcome {
  const parts = checkedName(qualified, "consumer group", groupNameProblem, Code.IllegalConsumerGroup);
  if ("code" in parts) return parts;
  const { namespace, name } = parts;
  if (draft.get("group", qualified) !== undefined) return exists;
  if (!(draft.get("namespace", namespace) ?? namespaceDefaults).autoCreateGroups) {
    return { code: Code.ConsumerGroupNotFound, message: refusal("group", namespace, name) };
  }
  return outcomeOf(declareGroup(draft, namespace, name, {}, namespaceDefaults), "consumer group", name);
}

function checkedName(
  qualified: string,
  what: string,
  problemOf: (name: string) => string | undefined,
  code: Code,
): { namespace: string; name: string } | EnsureOutcome {
  const parts = splitQualifiedName(qualified);
  if (parts === undefined) {
    return { code, message: `${what} "${printableName(qualified)}" is not of the form <namespace>/<name>` };
  }
  const namespaceWrong = namespaceProblem(parts.namespace);
  if (namespaceWrong !== undefined) {
    return { code: Code.BadRequest, message: `namespace "${printableName(parts.namespace)}" ${namespaceWrong}` };
  }
  const nameWrong = problemOf(parts.name);
  return nameWrong === undefined ? parts : { code, message: `${what} "${printableName(parts.name)}" ${nameWrong}` };
}

function refusal(what: "topic" | "group", namespace: string, name: string): string {
  const flag = namespace === defaultNamespace ? "" : ` -n ${namespace}`;
  const noun = what === "group" ? "consumer group" : "topic";
  return (
    `${noun} "${name}" does not exist in namespace "${namespace}", and creating on first use is off there; ` +
    `create it: popmesh ${what} create ${name}${flag}`
  );
}

function outcomeOf(declared: Declared<unknown>, what: string, name: string): EnsureOutcome {
  if (declared.outcome !== "conflict") return exists;
  return { code: Code.TooManyRequests, message: `${what} "${name}" ${declared.reason}` };
}
