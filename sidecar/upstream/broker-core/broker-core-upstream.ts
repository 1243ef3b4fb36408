import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../proto/code.ts";
import { sendRequestBytesMax } from "../../../proto/codec/frame-body.ts";
import { FrameKind, frameBytesMax, frameHeaderBytes } from "../../../proto/frame/frame.ts";
import type {
  LaneConsumer,
  OrphanedTransaction,
  Upstream,
  UpstreamAck,
  UpstreamChange,
  UpstreamDone,
  UpstreamLiteSync,
  UpstreamOffset,
  UpstreamOffsetAnswer,
  UpstreamPull,
  UpstreamPullAnswer,
  UpstreamRecall,
  UpstreamRecalled,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSend,
  UpstreamSendAnswer,
  UpstreamTransactionEnd,
} from "../upstream.ts";
import { Announcer } from "./announcer.ts";
import { failure } from "./answer-reader.ts";
import { BrokerCalls, type BrokerCallsOptions, type Done } from "./broker-calls.ts";

const bodyBytesMax = frameBytesMax - frameHeaderBytes;

/**
 * The upstream port over frames (docs/upstream-port.md): one connection to one broker of ours. What a call goes through is in
 * `BrokerCalls`.
 */
export class BrokerCoreUpstream implements Upstream {
  readonly brokerName: string;
  readonly #calls: BrokerCalls;
  readonly #announcer: Announcer;
  onOrphan: ((orphan: OrphanedTransaction) => void) | undefined;

  constructor(options: BrokerCallsOptions) {
    this.brokerName = options.brokerName;
    const announcer = (this.#announcer = new Announcer(options.clock, options.hello.lane));
    this.#calls = new BrokerCalls(options, {
      onConnected: (connection) => announcer.connected(connection),
      onDisconnected: () => announcer.disconnected(),
      onOrphan: (orphan) => this.onOrphan?.(orphan),
    });
  }

  get openRequestCount(): number {
    return this.#calls.openRequestCount;
  }

  get isReady(): boolean {
    return this.#calls.isReady;
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.#calls.trouble;
  }

  send(request: UpstreamSend, deadlineMs: number, done: Done<UpstreamSendAnswer>): void {
    const bytesMax = sendRequestBytesMax(request.laneMark, request.bornHost, request.messages, request.groupSpread);
    if (bytesMax > bodyBytesMax) {
      const message = `a send of over ${bodyBytesMax} bytes does not fit into a frame; send fewer messages at once`;
      this.#calls.answerLater(done, failure(Code.MessageBodyTooLarge, message, "refused"));
      return;
    }
    this.#calls.begin(FrameKind.Send, request, bytesMax, deadlineMs, done);
  }

  receive(request: UpstreamReceive, deadlineMs: number, done: Done<UpstreamReceiveAnswer>): () => void {
    const correlation = this.#calls.begin(FrameKind.Receive, request, 0, deadlineMs, done);
    return () => this.#calls.giveUp(correlation);
  }

  ack(request: UpstreamAck, deadlineMs: number, done: Done<UpstreamResults>): void {
    this.#calls.begin(FrameKind.Ack, request, 0, deadlineMs, done);
  }

  deadLetter(request: UpstreamAck, deadlineMs: number, done: Done<UpstreamResults>): void {
    this.#calls.begin(FrameKind.DeadLetter, request, 0, deadlineMs, done);
  }

  change(request: UpstreamChange, deadlineMs: number, done: Done<UpstreamResults>): void {
    this.#calls.begin(FrameKind.Change, request, 0, deadlineMs, done);
  }

  endTransaction(request: UpstreamTransactionEnd, deadlineMs: number, done: Done<UpstreamDone>): void {
    const body = popmesh.v1.EndTransactionRequest.encode(request).finish();
    this.#calls.begin(FrameKind.EndTransaction, { body }, 0, deadlineMs, done);
  }

  recall(request: UpstreamRecall, deadlineMs: number, done: Done<UpstreamRecalled>): void {
    this.#calls.begin(FrameKind.Recall, request, 0, deadlineMs, done);
  }

  announceProducer(topic: string, isLive: boolean): void {
    this.#announcer.producers.announce(topic, isLive);
  }

  announceConsumers(consumers: readonly LaneConsumer[]): void {
    this.#announcer.consumers.announce(consumers);
  }

  syncLite(request: UpstreamLiteSync, deadlineMs: number, done: Done<UpstreamDone>): void {
    this.#calls.begin(FrameKind.LiteSync, request, 0, deadlineMs, done);
  }

  pull(request: UpstreamPull, deadlineMs: number, done: Done<UpstreamPullAnswer>): void {
    this.#calls.begin(FrameKind.Pull, request, 0, deadlineMs, done);
  }

  offset(request: UpstreamOffset, deadlineMs: number, done: Done<UpstreamOffsetAnswer>): void {
    this.#calls.begin(FrameKind.Offset, request, 0, deadlineMs, done);
  }

  close(graceMs: number): Promise<void> {
    return this.#calls.close(graceMs);
  }
}
