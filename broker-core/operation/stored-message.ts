import { apache } from "#codec/rocketmq-v2";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { type LogReader, RecordType } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import {
  messageBodyStart,
  messageBornHost,
  messageId,
  messageLaneMark,
  messageStoreMs,
} from "../record/message-record.ts";
import { releaseMs } from "../record/release-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";

const codec = new GeneralCodec<apache.rocketmq.v2.Message, apache.rocketmq.v2.IMessage>(
  apache.rocketmq.v2.Message,
  "apache.rocketmq.v2.Message",
);

/** Wall time at which the message behind an index entry came into its queue; undefined when its bytes are damaged. */
export function storeMsAt(log: LogReader, position: number): number | undefined {
  return orDamaged(() => {
    const record = log.read(position);
    switch (record.type) {
      case RecordType.DeadLetter:
        return readDeadLetterRecord(record.body, 0, record.body.length).deadMs;
      case RecordType.Commit:
      case RecordType.Due:
        return releaseMs(record.body, 0);
      default:
        return messageStoreMs(record.body, 0);
    }
  });
}

/** The client's id of the message behind an index entry; undefined when its bytes are damaged. */
export function messageIdAt(log: LogReader, position: number): string | undefined {
  return orDamaged(() => {
    const { body, start } = readStoredMessage(log, position);
    return messageId(body, start);
  });
}

/** The lane mark of the message behind an index entry; undefined when its bytes are damaged. */
export function laneMarkAt(log: LogReader, position: number): string | undefined {
  return orDamaged(() => {
    const { body, start } = readStoredMessage(log, position);
    return messageLaneMark(body, start);
  });
}

/** A stored message as operators see it; the body in base64, because nobody knows what it is. */
export interface MessageView {
  readonly messageId: string;
  readonly tag: string | null;
  readonly keys: readonly string[];
  readonly messageGroup: string | null;
  readonly properties: Readonly<Record<string, string>>;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly storedMs: number;
  readonly bodyBytes: number;
  readonly bodyBase64: string;
}

/** Undefined when the message's bytes are damaged. */
export function messageViewAt(log: LogReader, position: number): MessageView | undefined {
  return orDamaged(() => {
    const { body, start } = readStoredMessage(log, position);
    const message = codec.decode(body, messageBodyStart(body, start));
    const system = message.systemProperties;
    return {
      messageId: system?.messageId ?? "",
      tag: system?.tag ?? null,
      keys: system?.keys ?? [],
      messageGroup: system?.messageGroup ?? null,
      properties: message.userProperties,
      bornHost: messageBornHost(body, start),
      laneMark: messageLaneMark(body, start),
      storedMs: messageStoreMs(body, start),
      bodyBytes: message.body.length,
      bodyBase64: Buffer.from(message.body).toString("base64"),
    };
  });
}

function orDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}
