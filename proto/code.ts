/**
 * Status codes of `apache.rocketmq.v2` (enum Code). Clients branch on the number alone; the text beside it is for
 * people. A code not listed here must not be sent: most SDKs know no answer to it.
 */
export const Code = {
  /** Success. */
  Ok: 20000,
  /** Entries differ; look at each. */
  MultipleResults: 30000,
  /** Generic. */
  BadRequest: 40000,
  /** Endpoints malformed. */
  IllegalAccessPoint: 40001,
  /** Topic name malformed or reserved. */
  IllegalTopic: 40002,
  /** Group name malformed or reserved. */
  IllegalConsumerGroup: 40003,
  /** Tag blank, with `|` or control characters. */
  IllegalMessageTag: 40004,
  /** Key blank or with control characters. */
  IllegalMessageKey: 40005,
  /** Message group blank, too long, control characters. */
  IllegalMessageGroup: 40006,
  /** Reserved or malformed user property. */
  IllegalMessagePropertyKey: 40007,
  /** Transaction id empty or unknown. */
  InvalidTransactionId: 40008,
  /** Message id empty. */
  IllegalMessageId: 40009,
  /** Filter cannot be parsed. */
  IllegalFilterExpression: 40010,
  /** Invisible duration out of range. */
  IllegalInvisibleTime: 40011,
  /** Delivery time too far ahead. */
  IllegalDeliveryTime: 40012,
  /** Clients stop retrying on it. */
  InvalidReceiptHandle: 40013,
  /** Topic does not take this message type. */
  MessagePropertyConflictWithType: 40014,
  /** Also "no settings known for this client". */
  UnrecognizedClientType: 40015,
  /** Request holds no usable message. */
  MessageCorrupted: 40016,
  /** Header x-mq-client-id missing. */
  ClientIdRequired: 40017,
  /** Deadline too short for the poll. */
  IllegalPollingTime: 40018,
  /** Offset out of range. */
  IllegalOffset: 40019,
  /** Lite topic name malformed. */
  IllegalLiteTopic: 40020,
  /** Settings.client_properties break a limit. */
  InvalidClientProperties: 40021,
  /** Authentication or authorization failed. */
  Unauthorized: 40100,
  /** Class marker, unused. */
  PaymentRequired: 40200,
  /** E.g. no readable/writable queue. */
  Forbidden: 40300,
  /** Generic. */
  NotFound: 40400,
  /** Nothing to receive now. */
  MessageNotFound: 40401,
  /** Topic does not exist. */
  TopicNotFound: 40402,
  /** Group does not exist. */
  ConsumerGroupNotFound: 40403,
  /** Group has no offset there. */
  OffsetNotFound: 40404,
  /** Class marker, unused. */
  RequestTimeout: 40800,
  /** Class marker. */
  PayloadTooLarge: 41300,
  /** Body over the limit. */
  MessageBodyTooLarge: 41301,
  /** Body without bytes. */
  MessageBodyEmpty: 41302,
  /** Class marker, unused. */
  PreconditionFailed: 42800,
  /** Throttled; clients back off. */
  TooManyRequests: 42900,
  /** Too many lite topics on the server. */
  LiteTopicQuotaExceeded: 42901,
  /** Too many lite topics subscribed by the client. */
  LiteSubscriptionQuotaExceeded: 42902,
  /** Class marker. */
  RequestHeaderFieldsTooLarge: 43100,
  /** Properties over a limit. */
  MessagePropertiesTooLarge: 43101,
  /** Class marker. */
  InternalError: 50000,
  /** Catch-all. */
  InternalServerError: 50001,
  /** Stored, but no replica available. */
  HaNotAvailable: 50002,
  /** Not supported by server or client. */
  NotImplemented: 50100,
  /** Upstream did not answer in time. */
  ProxyTimeout: 50400,
  /** Flush-to-disk timeout. */
  MasterPersistenceTimeout: 50401,
  /** Replication timeout. */
  SlavePersistenceTimeout: 50402,
  /** Class marker. */
  Unsupported: 50500,
  /** Unused. */
  VersionUnsupported: 50501,
  /** Client result: FIFO messages cannot be verified. */
  VerifyFifoMessageUnsupported: 50502,
  /** Result of VerifyMessageCommand. */
  FailedToConsumeMessage: 60000,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

const nameByCode = new Map<number, string>(
  Object.entries(Code).map(([name, code]) => [code, name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()]),
);

/** The name the v2 API gives a code, for example `TOPIC_NOT_FOUND`; the number itself when it has none. */
export function codeName(code: number): string {
  return nameByCode.get(code) ?? String(code);
}
