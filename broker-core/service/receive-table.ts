import { Code } from "../../proto/code.ts";
import { type DeliveryFields, deliveryBytesMax, writeDelivery } from "../../proto/codec/frame-body.ts";
import { FrameKind, frameBytesMax, frameHeaderBytes } from "../../proto/frame/frame.ts";
import type { BrokerPort, HandedDelivery, HandOut, ReceiveSink } from "../broker-port.ts";
import { takeBody } from "./body-pool.ts";
import type { Connection } from "./connection.ts";
import type { HandedOut } from "./handed-out.ts";

/**
 * Gives an answer to a receive on its way when its hand-out record is written, or on disk. `body` is of `takeBody`, and goes
 * back there when its first `bodyBytes` were copied into the answer.
 */
export type AnswerReceive = (
  connection: Connection,
  correlation: number,
  position: number,
  mustBeDurable: boolean,
  body: Buffer,
  bodyBytes: number,
  handedOut: HandedOut,
) => void;

/**
 * The receives that the state machine has not answered yet, by ticket. Encodes what it hands out: the cursor it gives is
 * valid during the call only, so the body is made here and waits for its record as bytes.
 */
export class ReceiveTable implements ReceiveSink {
  #answer: AnswerReceive | undefined;
  readonly #connections: (Connection | undefined)[] = [];
  readonly #correlations: number[] = [];
  readonly #groupIds: number[] = [];
  readonly #handles: number[] = [];
  /** Of a receive that the state machine has not seen yet. */
  readonly #delayed: ({ isGone: boolean } | undefined)[] = [];
  readonly #freeTickets: number[] = [];
  #scratch: Buffer = Buffer.allocUnsafeSlow(64 * 1024);

  /** Where encoded answers go; given once, before the first receive. */
  connect(answer: AnswerReceive): void {
    this.#answer = answer;
  }

  /** Receives that wait, of all connections. */
  get count(): number {
    return this.#connections.length - this.#freeTickets.length;
  }

  /** Takes a ticket for a receive that is about to be made. */
  open(connection: Connection, correlation: number, groupId: number): number {
    const ticket = this.#freeTickets.pop() ?? this.#connections.length;
    this.#connections[ticket] = connection;
    this.#correlations[ticket] = correlation;
    this.#groupIds[ticket] = groupId;
    this.#handles[ticket] = -1;
    connection.receives.set(correlation, ticket);
    return ticket;
  }

  /** The receive was parked: `handle` takes it out again. */
  park(ticket: number, handle: number): void {
    this.#handles[ticket] = handle;
  }

  /** The receive waits for its turn; what closes its ticket tells `read`. */
  delay(ticket: number, read: { isGone: boolean }): void {
    this.#delayed[ticket] = read;
  }

  /** The state machine is about to get it. */
  delayIsOver(ticket: number): void {
    this.#delayed[ticket] = undefined;
  }

  /** Takes a receive that is not answered yet out of where it waits; false: it does not wait any more. */
  giveUp(ticket: number, port: Pick<BrokerPort, "cancelReceive">): boolean {
    return this.#delayed[ticket] !== undefined || port.cancelReceive(this.#handles[ticket] ?? -1);
  }

  /** The state machine will not answer this ticket any more. */
  close(ticket: number): void {
    this.#connections[ticket]?.receives.delete(this.#correlations[ticket]!);
    const delayed = this.#delayed[ticket];
    if (delayed !== undefined) delayed.isGone = true;
    this.#delayed[ticket] = undefined;
    this.#connections[ticket] = undefined;
    this.#freeTickets.push(ticket);
  }

  receiveRefused(ticket: number, code: Code, message: string): void {
    const connection = this.#connections[ticket];
    const correlation = this.#correlations[ticket]!;
    this.close(ticket);
    connection?.answerFailure(FrameKind.Receive, correlation, code, message);
  }

  receiveAnswered(ticket: number, handOut: HandOut): void {
    const connection = this.#connections[ticket];
    const correlation = this.#correlations[ticket]!;
    const groupId = this.#groupIds[ticket]!;
    this.close(ticket);
    if (connection === undefined) return;
    if (handOut.count === 0 && !handOut.mustBeDurable) {
      connection.answer(FrameKind.Receive, Code.Ok, correlation, nothing);
      return;
    }
    const receipts: string[] = [];
    let at = 0;
    for (let i = 0; i < handOut.count; i++) {
      if (!handOut.load(i)) continue;
      const delivery = fill(handOut.delivery);
      receipts.push(delivery.receipt);
      at = this.#append(at, delivery);
    }
    const body = takeBody(at);
    this.#scratch.copy(body, 0, 0, at);
    this.#answer?.(connection, correlation, handOut.position, handOut.mustBeDurable, body, at, { groupId, receipts });
  }

  #append(at: number, delivery: DeliveryFields): number {
    const needed = at + deliveryBytesMax(delivery);
    if (needed > bodyBytesMax)
      throw new RangeError(`a hand-out of over ${bodyBytesMax} bytes does not fit into a frame`);
    if (needed > this.#scratch.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(bodyBytesMax, Math.max(needed, this.#scratch.length * 2)));
      this.#scratch.copy(grown, 0, 0, at);
      this.#scratch = grown;
    }
    return writeDelivery(this.#scratch, at, delivery);
  }
}

const nothing = new Uint8Array(0);
const bodyBytesMax = frameBytesMax - frameHeaderBytes;

/** The one delivery that is being encoded. */
const current: { -readonly [K in keyof DeliveryFields]: DeliveryFields[K] } = {
  message: Buffer.alloc(0),
  messageStart: 0,
  messageEnd: 0,
  receipt: "",
  queueId: 0,
  offset: 0,
  attempt: 0,
  storeMs: 0,
  bornHost: "",
  lane: "",
  mirrorOf: "",
  deadLetter: undefined,
};

function fill(delivery: HandedDelivery): DeliveryFields {
  current.message = delivery.bytes;
  current.messageStart = delivery.messageStart;
  current.messageEnd = delivery.messageEnd;
  current.receipt = delivery.receipt.toString("latin1");
  current.queueId = delivery.queueId;
  current.offset = delivery.offset;
  current.attempt = delivery.attempt;
  current.storeMs = delivery.storeMs;
  current.bornHost = delivery.bornHost;
  current.lane = delivery.laneMark;
  current.mirrorOf = delivery.mirrorOf;
  current.deadLetter = delivery.deadLetter;
  return current;
}
