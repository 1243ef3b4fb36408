import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import { fieldBytes, textFieldBytes, writeFieldHead, writeTextField } from "../../proto/codec/field.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { receiptBrokerName } from "../../proto/receipt-handle.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Counter, MetricRegistry } from "../../proto/runtime/metric.ts";
import type { OrphanedTransaction } from "../upstream/upstream.ts";
import type { LiveProducers } from "./live-producers.ts";

/** Fields of TelemetryCommand and RecoverOrphanedTransactionCommand. */
const recoverCommandField = 5;
const messageField = 1;
const transactionIdField = 2;

/** The one command that is being written. */
const scan = new MessageScan();
const delivered = new DeliveredMessage();

/**
 * Passes a broker's question about an open transaction on to a producer of the topic: RecoverOrphanedTransactionCommand on its
 * Telemetry stream, with the message as complete as a delivery, for SDKs drop it otherwise. The producer answers with
 * EndTransaction, or not at all.
 */
export class OrphanRecovery {
  readonly #producers: LiveProducers;
  readonly #log: Log;
  readonly #asked: Counter;
  readonly #unasked: Counter;

  constructor(producers: LiveProducers, log: Log, metrics: MetricRegistry) {
    this.#producers = producers;
    this.#log = log;
    const total = (what: string, help: string) =>
      metrics.counter(`popmesh_sidecar_transaction_checks_${what}_total`, help);
    this.#asked = total("asked", "Questions about open transactions that were passed on to a producer.");
    this.#unasked = total(
      "unasked",
      "Questions about open transactions for which there was no producer, or none that reads.",
    );
  }

  /** False when there is no live producer of the topic, of which the broker must be told. */
  recover(orphan: OrphanedTransaction): boolean {
    const { topic, transactionId } = orphan;
    const stream = this.#producers.next(topic);
    if (stream === undefined) {
      this.#unasked.add();
      // Those that do not read what they are sent are asked in a later round.
      return this.#producers.has(topic);
    }
    try {
      scanMessage(orphan.message, 0, orphan.message.length, scan);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#log.warn({ topic, transactionId, reason: error.message }, "a half message cannot be read; nobody is asked");
      return true;
    }
    delivered.receiptHandle = "";
    delivered.queueId = 0;
    delivered.queueOffset = 0;
    delivered.storeMs = orphan.storeMs;
    delivered.storeHost = receiptBrokerName(transactionId) ?? "";
    delivered.deliveryAttempt = 1;
    delivered.invisibleMs = 0;
    delivered.bornHost = orphan.bornHost;
    delivered.deadLetterTopic = "";
    delivered.mirrorOf = "";
    delivered.deadLetterMessageId = "";
    const messageBytes = delivered.measureMessage(scan);
    const commandBytes = fieldBytes(messageBytes) + textFieldBytes(transactionId);
    stream.sendCommand(fieldBytes(commandBytes), (into, at) => {
      at = writeFieldHead(into, at, recoverCommandField, commandBytes);
      at = writeFieldHead(into, at, messageField, messageBytes);
      at = delivered.writeMessage(into, at);
      writeTextField(into, at, transactionIdField, transactionId);
    });
    this.#asked.add();
    return true;
  }
}
