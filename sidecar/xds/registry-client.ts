import type { Client } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";

/** What came of asking the control plane to create something. */
export type EnsureResult =
  /** It exists now; its resource follows on the stream. */
  | { readonly kind: "exists" }
  /** The control plane says no. */
  | { readonly kind: "refused"; readonly code: Code; readonly message: string }
  /** Nobody answered in time. */
  | { readonly kind: "unavailable"; readonly message: string };

const ensureMsMax = 2_000;

/** Asks the control plane to create topics and groups on first use. Questions about one name are asked once at a time. */
export class RegistryClient {
  readonly #channel: Client;
  readonly #sidecarId: string;
  readonly #clock: Clock;
  readonly #open = new Map<string, Promise<EnsureResult>>();

  constructor(channel: Client, sidecarId: string, clock: Clock) {
    this.#channel = channel;
    this.#sidecarId = sidecarId;
    this.#clock = clock;
  }

  /** `name` is "<namespace>/<topic>". Never rejects. */
  ensureTopic(name: string): Promise<EnsureResult> {
    return this.#ensure("/popmesh.v1.Registry/EnsureTopic", name, popmesh.v1.EnsureTopicRequest);
  }

  /** `name` is "<namespace>/<group>". Never rejects. */
  ensureGroup(name: string): Promise<EnsureResult> {
    return this.#ensure("/popmesh.v1.Registry/EnsureGroup", name, popmesh.v1.EnsureGroupRequest);
  }

  #ensure(path: string, name: string, request: typeof popmesh.v1.EnsureTopicRequest): Promise<EnsureResult> {
    const key = `${path} ${name}`;
    let open = this.#open.get(key);
    if (open === undefined) {
      open = this.#ask(path, request.encode({ name, askedBy: this.#sidecarId }).finish());
      this.#open.set(key, open);
      void open.finally(() => this.#open.delete(key));
    }
    return open;
  }

  #ask(path: string, body: Uint8Array): Promise<EnsureResult> {
    return new Promise((resolve) => {
      this.#channel.makeUnaryRequest(
        path,
        (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        (bytes: Buffer) => popmesh.v1.EnsureAnswer.decode(bytes),
        body,
        { deadline: this.#clock.wallMs() + ensureMsMax },
        (error, answer) => {
          if (error !== null || answer === undefined) {
            resolve({ kind: "unavailable", message: error?.details ?? "no answer" });
          } else if (answer.code === Code.Ok) {
            resolve({ kind: "exists" });
          } else {
            resolve({ kind: "refused", code: answer.code as Code, message: answer.message });
          }
        },
      );
    });
  }
}
