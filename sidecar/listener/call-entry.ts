import type { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { effectiveDeadlineMs } from "../filter/deadline.ts";
import type { FilterVerdict, MeshCall } from "../filter/filter.ts";
import type { FilterChain } from "../filter/filter-chain.ts";
import { effectiveNamespace } from "../filter/resource-name.ts";
import type { ClientSession, ClientSessions } from "./client-session.ts";
import type { ServerCall } from "./http2/grpc-method.ts";

/** Where a call of the wire becomes a `MeshCall`: the one place that reads the request headers. */
export class CallEntry {
  readonly clock: Clock;
  readonly #chain: FilterChain;
  readonly #sessions: ClientSessions;
  readonly #defaultNamespace: string;

  constructor(chain: FilterChain, sessions: ClientSessions, clock: Clock, defaultNamespace: string) {
    this.#chain = chain;
    this.#sessions = sessions;
    this.clock = clock;
    this.#defaultNamespace = defaultNamespace;
  }

  /**
   * `resourceNamespace` is the one inside the request; "" where it has none. `fallbackMs` is how long a call may take whose
   * client sets no deadline.
   */
  open(
    server: ServerCall,
    rpc: string,
    resourceNamespace: string,
    topic: string,
    group: string,
    requestBytes: number,
    fallbackMs?: number,
    messageCount = 0,
  ): MeshCall {
    const nowMs = this.clock.monotonicMs();
    const headerNamespace = resourceNamespace === "" ? (server.header("x-mq-namespace") ?? "") : "";
    return {
      rpc,
      clientId: clientIdOf(server),
      remoteAddress: server.connection.remoteAddress,
      namespace: effectiveNamespace(resourceNamespace, headerNamespace, this.#defaultNamespace),
      topic,
      group,
      requestBytes,
      messageCount,
      startedMs: nowMs,
      deadlineMs: effectiveDeadlineMs(nowMs, server.deadlineMs, fallbackMs),
      lane: "",
      cluster: "",
      attempts: 0,
    };
  }

  enter(call: MeshCall): FilterVerdict {
    const verdict = this.#chain.enter(call);
    if (verdict.kind === "continue") this.#sessions.touch(call.clientId, call.startedMs);
    return verdict;
  }

  leave(call: MeshCall, code: Code): void {
    this.#chain.leave(call, code);
  }

  /** What is known of the caller. Made on first sight. */
  session(call: MeshCall): ClientSession {
    return this.#sessions.touch(call.clientId, call.startedMs);
  }
}

/** "" when the client did not say who it is. */
export function clientIdOf(server: ServerCall): string {
  return server.header("x-mq-client-id")?.trim() ?? "";
}
