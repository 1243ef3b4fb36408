import type { Client } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { ShareAnswer, ShareQuestion, ShareSource } from "../limit/share-keeper.ts";

/** Longer than a control plane that lives needs; shorter than the time between two questions that it counts as silence. */
const answerMsMax = 1_000;
const goodbyeMsMax = 300;

/** Asks the control plane for shares of rate limits. */
export class LimitClient implements ShareSource {
  readonly #channel: Client;
  readonly #sidecarId: string;
  readonly #clock: Clock;

  constructor(channel: Client, sidecarId: string, clock: Clock) {
    this.#channel = channel;
    this.#sidecarId = sidecarId;
    this.#clock = clock;
  }

  ask(questions: readonly ShareQuestion[]): Promise<ShareAnswer | undefined> {
    return this.#call({ sidecarId: this.#sidecarId, demand: [...questions] }, answerMsMax);
  }

  async leave(): Promise<void> {
    await this.#call({ sidecarId: this.#sidecarId, leaving: true }, goodbyeMsMax);
  }

  /** Undefined when nobody answered. Never rejects. */
  #call(request: popmesh.v1.IShareRequest, patienceMs: number): Promise<ShareAnswer | undefined> {
    return new Promise((resolve) => {
      this.#channel.makeUnaryRequest(
        "/popmesh.v1.Limits/Share",
        (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        (bytes: Buffer) => popmesh.v1.ShareAnswer.decode(bytes),
        popmesh.v1.ShareRequest.encode(request).finish(),
        { deadline: this.#clock.wallMs() + patienceMs },
        (error, answer) => {
          if (error !== null || answer === undefined) resolve(undefined);
          else resolve({ shares: answer.share, reportAfterMs: answer.reportAfterMs });
        },
      );
    });
  }
}
