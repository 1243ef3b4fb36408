import { Code } from "../../proto/code.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";
import type { NamespaceBinding } from "./namespace-binding.ts";
import { type Refusal, refuseGroupName, refuseNamespace, refuseTopicName } from "./resource-name.ts";

/** What a call must name to be served. (A send names its topic in its messages; sidecar/listener/message-check.ts.) */
const namesTopic: ReadonlySet<string> = new Set([
  "QueryRoute",
  "QueryAssignment",
  "ReceiveMessage",
  "AckMessage",
  "ChangeInvisibleDuration",
  "EndTransaction",
  "RecallMessage",
]);
const namesGroup: ReadonlySet<string> = new Set([
  "QueryAssignment",
  "ReceiveMessage",
  "AckMessage",
  "ChangeInvisibleDuration",
]);

/** Names of clients, namespaces, topics and groups. What is inside a message is checked where the message is read. */
export class ValidationFilter implements Filter {
  readonly name = "validation";
  readonly #namespaces: NamespaceBinding;

  constructor(namespaces: NamespaceBinding) {
    this.#namespaces = namespaces;
  }

  onCall(call: MeshCall): FilterVerdict {
    if (call.clientId === "") return clientIdRequired;
    if (namesTopic.has(call.rpc)) {
      const refusal = refuseTopicName(call.topic) ?? refuseNamespace(call.namespace);
      if (refusal !== undefined) return answer(refusal);
    }
    const foreign = this.#namespaces.refuse(call.namespace);
    if (foreign !== undefined) return answer(foreign);
    if (namesGroup.has(call.rpc) || call.group !== "") {
      const refusal = refuseGroupName(call.group);
      if (refusal !== undefined) return answer(refusal);
    }
    return continueCall;
  }
}

const clientIdRequired: FilterVerdict = {
  kind: "answer",
  code: Code.ClientIdRequired,
  message: "the header x-mq-client-id is missing or blank; every RocketMQ SDK sets it",
};

function answer(refusal: Refusal): FilterVerdict {
  return { kind: "answer", code: refusal.code, message: refusal.message };
}
