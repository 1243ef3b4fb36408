import type { DeadLetterOrigin, HandedDelivery, HandOut } from "../broker-port.ts";
import { type LogReader, RecordType } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { originOfCopy, originText } from "../record/copy-origin.ts";
import { deadLetterReasonText, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import {
  messageBodyStart,
  messageBornHost,
  messageLaneMark,
  messageOffset,
  messageStoreMs,
} from "../record/message-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { releaseMs, releaseOffset } from "../record/release-record.ts";
import { storedMessageOf } from "../record/stored-message.ts";
import { none } from "./lease-table.ts";
import { batchMax } from "./pop-plan.ts";
import { type ReceiptSealer, receiptBlank } from "./receipt.ts";
import type { Subscription } from "./subscription.ts";

const emptyBuffer: Buffer = Buffer.alloc(0);

class Delivery implements HandedDelivery {
  bytes: Buffer = emptyBuffer;
  messageStart = 0;
  messageEnd = 0;
  receipt: Buffer = emptyBuffer;
  queueId = 0;
  offset = 0;
  attempt = 0;
  storeMs = 0;
  bornHost = "";
  laneMark = "";
  mirrorOf = "";
  deadLetter: DeadLetterOrigin | undefined = undefined;
}

/** The one hand-out of a broker: filled from lease rows, read by the sink, filled again. */
export class LeasedHandOut implements HandOut {
  count = 0;
  position = 0;
  invisibleMs = 0;
  lane = "";
  mustBeDurable = false;
  readonly delivery = new Delivery();

  readonly #tables: BrokerTables;
  readonly #log: LogReader;
  readonly #sealer: ReceiptSealer;
  readonly #slots = new Uint32Array(batchMax);
  readonly #receipt = receiptBlank();
  #subscription: Subscription | undefined;

  constructor(tables: BrokerTables, log: LogReader, sealer: ReceiptSealer) {
    this.#tables = tables;
    this.#log = log;
    this.#sealer = sealer;
  }

  begin(subscription: Subscription | undefined, position: number, invisibleMs: number, lane: string): void {
    this.#subscription = subscription;
    this.count = 0;
    this.position = position;
    this.invisibleMs = invisibleMs;
    this.lane = lane;
    this.mustBeDurable = false;
  }

  get isFull(): boolean {
    return this.count === batchMax;
  }

  add(leaseSlot: number): void {
    this.#slots[this.count++] = leaseSlot;
    // Who sees this message may conclude that the one before it is settled: no power cut may undo that.
    if (this.#tables.leases.lock[leaseSlot] !== none) this.mustBeDurable = true;
  }

  /** Oldest message first: an attempt's leases come back in no particular order. */
  sort(): void {
    const { position } = this.#tables.leases;
    this.#slots.subarray(0, this.count).sort((a, b) => position[a]! - position[b]!);
  }

  load(index: number): boolean {
    const subscription = this.#subscription;
    if (subscription === undefined || index >= this.count) throw new RangeError(`no delivery ${index}`);
    const { leases, lanes } = this.#tables;
    const slot = this.#slots[index]!;
    const { delivery } = this;
    delivery.queueId = leases.queueId[slot]!;
    delivery.offset = leases.offset[slot]!;
    delivery.attempt = leases.attempt[slot]!;
    if (!this.#loadMessage(subscription, leases.position[slot]!)) return false;
    const receipt = this.#receipt;
    receipt.topicId = subscription.topic.id;
    receipt.groupId = subscription.group.id;
    receipt.queueId = delivery.queueId;
    receipt.offset = delivery.offset;
    receipt.generation = leases.generation[slot]!;
    receipt.run = leases.run[slot]!;
    receipt.attempt = delivery.attempt;
    receipt.lane = lanes.text(leases.lane[slot]!);
    delivery.receipt = this.#sealer.seal(receipt);
    return true;
  }

  #loadMessage(subscription: Subscription, position: number): boolean {
    const { delivery } = this;
    try {
      const record = this.#log.read(position);
      let { offset } = delivery;
      let storeMs = 0;
      delivery.deadLetter = undefined;
      delivery.mirrorOf = "";
      if (record.type === RecordType.DeadLetter) {
        const dead = readDeadLetterRecord(record.body, 0, record.body.length);
        delivery.deadLetter = {
          topic: dead.originTopic,
          messageId: dead.messageId,
          queueId: dead.queueId,
          offset: dead.offset,
          attempts: dead.attempts,
          reason: deadLetterReasonText(dead.reason),
          lastHolder: dead.lastHolder,
          deadMs: dead.deadMs,
        };
        offset = dead.deadOffset;
      } else if (record.type === RecordType.Commit || record.type === RecordType.Due) {
        offset = releaseOffset(record.body, 0);
        storeMs = releaseMs(record.body, 0);
      } else if (record.type === RecordType.Message) offset = messageOffset(record.body, 0);
      const origin = originOfCopy(record, subscription.topic.id);
      if (origin !== undefined) {
        delivery.mirrorOf = originText(this.#tables.topics.byId(origin.topicId)?.name ?? "", origin);
        offset = origin.copyOffset;
      }
      // Never hand out what merely lies where the message should be.
      if (offset !== delivery.offset) {
        throw new RecordFault(
          `${subscription.topic.name}, queue ${delivery.queueId}: log position ${position} holds offset ` +
            `${offset}, not ${delivery.offset}`,
        );
      }
      const { body, start } = storedMessageOf(this.#log, record);
      delivery.bytes = body;
      delivery.messageStart = messageBodyStart(body, start);
      delivery.messageEnd = body.length;
      delivery.storeMs = storeMs === 0 ? messageStoreMs(body, start) : storeMs;
      delivery.bornHost = messageBornHost(body, start);
      delivery.laneMark = messageLaneMark(body, start);
      return true;
    } catch (error) {
      if (isUnreadable(error)) return false;
      throw error;
    }
  }
}
