import { Code } from "../../proto/code.ts";
import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { receiveTimestampBytes, writeReceiveTimestamp } from "../../proto/codec/receive-message.ts";
import { receiptBrokerName } from "../../proto/receipt-handle.ts";
import type { MeshCall } from "../filter/filter.ts";
import { plainName } from "../filter/resource-name.ts";
import type { GroupPolicy } from "../route/topic-route.ts";
import type { Delivery } from "../upstream/upstream.ts";
import type { ClientSession, OpenPoll } from "./client-session.ts";
import { GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import { writeStatus } from "./local-answer.ts";

const scan = new MessageScan();
const delivered = new DeliveredMessage();

/** Whose receives they are. */
export interface PollOwner {
  /** `deliveries` were popped and are not delivered. */
  handBack(poll: ReceivePoll, deliveries: readonly Delivery[]): void;
  /** A message has left for the client; `message` is valid until this returns. */
  noteDelivered(poll: ReceivePoll, delivery: Delivery, message: MessageScan): void;
  noteUnreadable(poll: ReceivePoll, delivery: Delivery, error: unknown): void;
  /** Ends a stream in which nothing was delivered, at once or after `delayMs`. */
  answerEmpty(server: ServerCall, call: MeshCall, code: Code, message: string, delayMs: number): void;
  /** The poll is over; called once. */
  noteFinished(poll: ReceivePoll, code: Code): void;
}

/** One receive on its way: waiting, then delivering, then finished. */
export class ReceivePoll implements OpenPoll {
  readonly server: ServerCall;
  readonly call: MeshCall;
  readonly session: ClientSession;
  readonly autoRenew: boolean;
  readonly #owner: PollOwner;
  group: GroupPolicy | undefined;
  invisibleMs = 0;
  cancel: (() => void) | undefined;
  isAnswered = false;
  isEnding = false;
  isFinished = false;
  #deliveries: readonly Delivery[] = [];
  #nextIndex = 0;
  #deliveryStartedMs = 0;

  constructor(owner: PollOwner, server: ServerCall, call: MeshCall, session: ClientSession, autoRenew: boolean) {
    this.#owner = owner;
    this.server = server;
    this.call = call;
    this.session = session;
    this.autoRenew = autoRenew;
  }

  /**
   * The client is gone, says goodbye, or this sidecar drains. A waiting broker is told; what it has given already and the
   * client has not been sent goes back.
   */
  end(): void {
    if (this.isFinished) return;
    this.isEnding = true;
    if (this.#deliveries.length > 0) {
      this.#giveBackRest();
      this.finish(Code.Ok, "");
    } else if (this.cancel !== undefined) this.cancel();
  }

  deliver(deliveries: readonly Delivery[], wallMs: number): void {
    this.#deliveries = deliveries;
    this.#deliveryStartedMs = wallMs;
    writeStatus(this.server, Code.Ok, "OK");
    this.#writeRest();
  }

  /** Writes as much as the client takes; goes on when it takes more. */
  #writeRest(): void {
    const { server } = this;
    while (this.#nextIndex < this.#deliveries.length) {
      if (!server.isOpen) {
        this.#giveBackRest();
        this.finish(Code.RequestTimeout, "");
        return;
      }
      const delivery = this.#deliveries[this.#nextIndex++]!;
      const hasRoom = this.#write(delivery);
      if (!hasRoom && this.#nextIndex < this.#deliveries.length) {
        server.onWritable = () => this.#writeRest();
        return;
      }
    }
    this.finish(Code.Ok, "");
  }

  #write(delivery: Delivery): boolean {
    try {
      scanMessage(delivery.message, 0, delivery.message.length, scan);
    } catch (error) {
      this.#owner.noteUnreadable(this, delivery, error);
      return true;
    }
    delivered.receiptHandle = delivery.receipt;
    delivered.queueId = delivery.queueId;
    delivered.queueOffset = delivery.offset;
    delivered.storeMs = delivery.storeMs;
    delivered.storeHost = receiptBrokerName(delivery.receipt) ?? "";
    delivered.deliveryAttempt = delivery.attempt;
    delivered.invisibleMs = this.invisibleMs;
    delivered.bornHost = delivery.bornHost;
    delivered.deadLetterTopic = delivery.deadLetter === undefined ? "" : plainName(delivery.deadLetter.topic);
    delivered.deadLetterMessageId = delivery.deadLetter?.messageId ?? "";
    delivered.mirrorOf = delivery.mirrorOf === "" ? "" : plainName(delivery.mirrorOf);
    const hasRoom = this.server.sendWith(delivered.measure(scan), writeDelivered);
    this.#owner.noteDelivered(this, delivery, scan);
    return hasRoom;
  }

  #giveBackRest(): void {
    const rest = this.#deliveries.slice(this.#nextIndex);
    this.#nextIndex = this.#deliveries.length;
    if (rest.length > 0) this.#owner.handBack(this, rest);
  }

  /** Ends the stream: with a status where nothing was delivered, with the delivery timestamp in any case. */
  finish(code: Code, message: string, delayMs = 0): void {
    if (this.isFinished) return;
    this.isFinished = true;
    this.server.onWritable = undefined;
    const isHeard = this.server.isOpen;
    if (isHeard) {
      if (this.#deliveries.length === 0) this.#owner.answerEmpty(this.server, this.call, code, message, delayMs);
      else writeEnd(this.server, this.#deliveryStartedMs);
    }
    this.#owner.noteFinished(this, isHeard ? code : Code.RequestTimeout);
  }
}

const writeDelivered = (into: Buffer, at: number): void => {
  delivered.write(into, at);
};

/** A stream in which nothing was delivered, whole: a status, the delivery timestamp. */
export function writeEmpty(server: ServerCall, code: Code, message: string, wallMs: number): void {
  if (!server.isOpen) return;
  writeStatus(server, code, message);
  writeEnd(server, wallMs);
}

function writeEnd(server: ServerCall, wallMs: number): void {
  server.sendWith(receiveTimestampBytes(wallMs), (into, at) => writeReceiveTimestamp(into, at, wallMs));
  server.finish(GrpcStatus.Ok);
}
